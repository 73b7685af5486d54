//! Connections end: those on which nothing is asked, those that nobody reads, and those that are too many.
//!
//! actix-web times the head of the first request, and a rest in which nothing at all arrives. It does not time the heads
//! after the first, the rest of a body that nobody wants any more, or answers that the client does not read. So each
//! connection is watched from the outside: between the end of one request's work and the begin of the next's it has so
//! much time, whatever happens on it.

use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::http::ConnectionType;
use actix_web::middleware::Next;
use actix_web::rt;
use actix_web::web::Bytes;
use ipnet::IpNet;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::failures::Network;
use super::{Service, log};
use crate::metrics::HttpMetrics;

/// How often a connection is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// At how many looks in a row a connection that rests may have input that nobody reads. actix-http reads whatever comes,
/// until it has 128 KiB of requests that it cannot answer because the client reads no answers; from then on it looks at
/// the connection without a pause. The first look may come at the end of a stall, before anybody could read.
const MOST_UNREAD: usize = 2;

/// How often it is told at most that connections were turned away.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// All connections that are open, by their peers.
pub(super) struct Connections {
    of_each: Mutex<HashMap<Network, usize>>,
    most_of_one: usize,
    turned_away: Mutex<TurnedAway>,
    trusted_proxies: Vec<IpNet>,
    between_requests: Duration,
    metrics: HttpMetrics,
}

impl Connections {
    /// None yet.
    pub(super) fn of(service: &Service) -> Self {
        Self {
            of_each: Mutex::default(),
            most_of_one: (service.patience.connections / 2).max(1),
            turned_away: Mutex::default(),
            trusted_proxies: service.trusted_proxies.clone(),
            between_requests: service.patience.between_requests(),
            metrics: service.metrics.http.clone(),
        }
    }

    /// Watches a connection from its beginning, or ends it if its peer has too many.
    pub(super) fn watch(self: &Arc<Self>, io: &dyn Any, extensions: &mut Extensions) {
        if let Some(stream) = io.downcast_ref::<rt::net::TcpStream>()
            && let Admitted::Watched(watch) = self.admit(stream)
        {
            extensions.insert(watch);
        }
    }

    /// Begins to watch the connection `stream`, also one on which TLS is not spoken yet, unless its peer has too many.
    pub(super) fn admit(self: &Arc<Self>, stream: &rt::net::TcpStream) -> Admitted {
        // A second descriptor, through which the connection can be ended while actix-web has the first. Without one it
        // is not watched, and [`attended`] lets it have one request.
        let Ok(stream) = stream.as_fd().try_clone_to_owned() else {
            return Admitted::Unwatched;
        };
        let stream = TcpStream::from(stream);
        let peer = stream.peer_addr().ok().map(|peer| peer.ip());
        if let Some(place) = self.place_for(peer) {
            let watch = Watch::over(stream, place, self.between_requests);
            Admitted::Watched(Rc::new(watch))
        } else {
            end(&stream);
            self.turn_away(peer);
            Admitted::TurnedAway
        }
    }

    /// A place for one more connection of `peer`, if it may have one.
    fn place_for(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<Place> {
        let network = Network::of(peer);
        let mut of_each = self.of_each.lock().unwrap_or_else(PoisonError::into_inner);
        let open = of_each.entry(network).or_default();
        if *open >= self.most_of_one && !self.is_trusted(peer) {
            return None;
        }
        *open += 1;
        self.metrics.opened();
        Some(Place {
            among: self.clone(),
            network,
        })
    }

    /// Counts a connection beyond the share of `peer`, and says once a minute at most how many there were.
    fn turn_away(&self, peer: Option<IpAddr>) {
        self.metrics.turned_away();
        let turned_away = self.turned_away.lock();
        let mut turned_away = turned_away.unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = turned_away.one_more(Instant::now()) {
            tracing::warn!(
                connections,
                last_of = peer.map(tracing::field::display),
                most_of_one = self.most_of_one,
                "connections were turned away, because their address had its share, since the last line like this: jobs \
                behind it fail if it is a NAT of theirs. `max-connections` and the limit of open files decide the share; \
                of a proxy under `trusted-proxies` there is none"
            );
        }
    }

    fn is_trusted(&self, peer: Option<IpAddr>) -> bool {
        let peer = peer.map(|peer| peer.to_canonical());
        peer.is_some_and(|peer| {
            self.trusted_proxies
                .iter()
                .any(|proxy| proxy.contains(&peer))
        })
    }
}

/// How many connections were turned away and are not told yet.
#[derive(Default)]
struct TurnedAway {
    untold: usize,
    told: Option<Instant>,
}

impl TurnedAway {
    /// Counts one. How many there were since it was told last, if it is time to tell.
    fn one_more(&mut self, now: Instant) -> Option<usize> {
        self.untold += 1;
        if self.told.is_some_and(|told| now - told < TELL_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// One of the connections that a peer may have, for as long as it lives.
struct Place {
    among: Arc<Connections>,
    network: Network,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.among.metrics.closed();
        let of_each = &self.among.of_each;
        let mut of_each = of_each.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = of_each.get_mut(&self.network) {
            *open -= 1;
            if *open == 0 {
                of_each.remove(&self.network);
            }
        }
    }
}

/// Ends both directions. What was sent before is still delivered.
fn end(stream: &TcpStream) {
    // It ended already: as good.
    let _ = stream.shutdown(Shutdown::Both);
}

/// What becomes of a new connection.
pub(super) enum Admitted {
    /// It is served, and dropping this ends the watch.
    Watched(Rc<Watch>),
    /// It is served, and nothing is known of it: there are no descriptors left.
    Unwatched,
    /// It was ended.
    TurnedAway,
}

/// What stands in the extensions of a connection: dropped when the connection is.
pub(super) struct Watch {
    connection: Rc<Connection>,
    task: JoinHandle<()>,
    _place: Place,
}

struct Connection {
    stream: TcpStream,
    metrics: HttpMetrics,
    /// Since when no request is worked on; `None` while one is.
    rests_since: Cell<Option<Instant>>,
}

impl Connection {
    /// Whether something has arrived that nobody has read.
    fn has_input(&self) -> bool {
        self.stream.peek(&mut [0]).is_ok_and(|read| read > 0)
    }
}

impl Watch {
    fn over(stream: TcpStream, place: Place, between_requests: Duration) -> Self {
        let connection = Rc::new(Connection {
            stream,
            metrics: place.among.metrics.clone(),
            rests_since: Cell::new(Some(Instant::now())),
        });
        let task = rt::spawn(end_at_last(Rc::downgrade(&connection), between_requests));
        Self {
            connection,
            task,
            _place: place,
        }
    }

    /// A request is worked on, until its answer is made: what it takes the client to read it counts as rest.
    fn work(&self) -> Work {
        Work::on(self.connection.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Work(Rc<Connection>);

impl Work {
    fn on(connection: Rc<Connection>) -> Self {
        connection.rests_since.set(None);
        Self(connection)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.rests_since.set(Some(Instant::now()));
    }
}

/// Ends a connection that has rested for `limit`, or on which input is left unread. It holds the connection only while
/// it looks, since that holds the second descriptor.
async fn end_at_last(connection: Weak<Connection>, limit: Duration) {
    let mut unread = 0;
    let mut next_look = Instant::now() + limit.min(LOOK_EVERY);
    loop {
        sleep_until(next_look).await;
        let Some(connection) = connection.upgrade() else {
            return;
        };
        let now = Instant::now();
        let since = connection.rests_since.get().unwrap_or(now);
        let rests = now - since;
        let leaves_input = rests >= LOOK_EVERY && connection.has_input();
        unread = if leaves_input { unread + 1 } else { 0 };
        if rests >= limit || unread == MOST_UNREAD {
            connection.metrics.cut_off();
            return end(&connection.stream);
        }
        next_look = (since + limit).min(now + LOOK_EVERY);
    }
}

/// An answer that is made while it is sent. Making a piece of it is work, and what it takes the client to read the piece
/// counts as rest, as it does with an answer that is whole from the begin.
struct Pieces {
    body: BoxBody,
    connection: Rc<Connection>,
    work: Option<Work>,
}

impl MessageBody for Pieces {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let pieces = self.get_mut();
        let connection = &pieces.connection;
        let work = pieces.work.take();
        let work = work.unwrap_or_else(|| Work::on(connection.clone()));
        let piece = Pin::new(&mut pieces.body).poll_next(context);
        if piece.is_pending() {
            pieces.work = Some(work);
        }
        piece
    }
}

/// Notes on the connection of `request` that it is worked on until it is answered.
pub(super) async fn attended(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse, Error> {
    let work = request.conn_data::<Rc<Watch>>().map(|watch| watch.work());
    let mut response = log::one_line(request, next).await?.map_into_boxed_body();
    let Some(work) = work else {
        let head = response.response_mut().head_mut();
        head.set_connection_type(ConnectionType::Close);
        return Ok(response);
    };
    if response.response().body().size() != BodySize::Stream {
        return Ok(response);
    }
    let connection = work.0.clone();
    Ok(response.map_body(|_, body| {
        let pieces = Pieces {
            body,
            connection,
            work: None,
        };
        BoxBody::new(pieces)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(most_of_one: usize) -> Arc<Connections> {
        Arc::new(Connections {
            of_each: Mutex::default(),
            most_of_one,
            turned_away: Mutex::default(),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            between_requests: Duration::ZERO,
            metrics: HttpMetrics::default(),
        })
    }

    fn places(connections: &Arc<Connections>, peer: &str) -> Vec<Place> {
        let peer = Some(peer.parse().unwrap());
        let places = (0..10).map_while(|_| connections.place_for(peer));
        places.collect()
    }

    #[test]
    fn a_peer_has_its_share_of_the_connections_and_gets_a_place_back_when_one_ends() {
        let connections = connections(3);
        let mut of_one = places(&connections, "192.0.2.1");
        assert_eq!(of_one.len(), 3);
        assert_eq!(places(&connections, "192.0.2.2").len(), 3);
        of_one.pop();
        assert_eq!(places(&connections, "192.0.2.1").len(), 1);
    }

    #[test]
    fn a_trusted_proxy_may_have_all_connections() {
        let connections = connections(3);
        assert_eq!(places(&connections, "10.0.0.1").len(), 10);
        assert_eq!(places(&connections, "::ffff:10.0.0.1").len(), 10);
    }

    #[test]
    fn nothing_is_remembered_of_who_is_gone() {
        let connections = connections(3);
        drop(places(&connections, "192.0.2.1"));
        assert!(connections.of_each.lock().unwrap().is_empty());
    }

    #[test]
    fn of_many_that_are_turned_away_there_is_one_line_a_minute() {
        let mut turned_away = TurnedAway::default();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(turned_away.one_more(begin), Some(1));
        for second in 0..59 {
            assert_eq!(turned_away.one_more(after(second)), None);
        }
        assert_eq!(turned_away.one_more(after(60)), Some(60));
        assert_eq!(turned_away.one_more(after(61)), None);
    }

    /// Says what it was told to say, once.
    struct Told(Option<Poll<Option<Bytes>>>);

    impl MessageBody for Told {
        type Error = std::convert::Infallible;

        fn size(&self) -> BodySize {
            BodySize::Stream
        }

        fn poll_next(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Bytes, Self::Error>>> {
            let told = self.0.take().unwrap_or(Poll::Pending);
            told.map(|piece| piece.map(Ok))
        }
    }

    #[test]
    fn a_connection_rests_while_a_piece_is_read_and_not_while_one_is_made() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = Rc::new(Connection {
            stream: TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
            metrics: HttpMetrics::default(),
            rests_since: Cell::new(None),
        });
        let rests = || connection.rests_since.get().is_some();
        let mut pieces = Pieces {
            body: BoxBody::new(Told(Some(Poll::Ready(Some(Bytes::from_static(b"piece")))))),
            connection: connection.clone(),
            work: None,
        };
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut look = |pieces: &mut Pieces| Pin::new(pieces).poll_next(&mut context).is_ready();
        assert!(look(&mut pieces) && rests());
        assert!(!look(&mut pieces) && !rests());
        pieces.body = BoxBody::new(Told(Some(Poll::Ready(None))));
        assert!(look(&mut pieces) && rests());
        assert!(!look(&mut pieces) && !rests());
        drop(pieces);
        assert!(rests());
    }
}
