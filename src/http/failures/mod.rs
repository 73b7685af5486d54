//! Failures are limited per address, successes never: hosted runners share addresses, and what one customer's job does
//! wrong must not keep another's out.
//!
//! So every request is worked on, whatever its address did before. A failure takes one from the budget of its address.
//! Who has none left is no longer told why, is no reason to read or write a record, and waits for the answer.

mod addresses;
mod elapsed;

use std::future::poll_fn;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use actix_web::http::ConnectionType;
use actix_web::web::{Data, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use addresses::{Addresses, Question};
pub(super) use addresses::{Network, Whose};
use elapsed::Elapsed;

use super::client_address::ClientAddress;
use super::error::rate_limited;
use super::log::Noted;
use super::patience::Patience;
use super::{Service, oauth};
use crate::clock::{Clock, Seconds};

/// How many addresses are remembered by themselves, some 5 MB in all.
const MOST_ADDRESSES: usize = 65_536;

/// How often an answer that waits is looked at. One look is the begin, one the end, and one whatever the client sends.
const MOST_LOOKS: usize = 64;

/// How many lines the failures of all addresses have in the log, one after the other, and in a minute from then on: who
/// has a network of IPv6 as it is given to anybody, a /48, has as many addresses as we remember.
const MOST_LINES: NonZeroU32 = NonZeroU32::new(6000).unwrap();
const LINES_PER_MINUTE: NonZeroU32 = NonZeroU32::new(1200).unwrap();

/// How often addresses whose budget is full again are forgotten.
const SWEEP_EVERY: Seconds = Seconds(60);

type Limiter = RateLimiter<Question, Addresses, Elapsed, NoOpMiddleware<Duration>>;
type OfAll = RateLimiter<NotKeyed, InMemoryState, Elapsed, NoOpMiddleware<Duration>>;

/// How often each address may fail and still be told why.
pub struct FailureLimit {
    clock: Arc<dyn Clock>,
    limiter: Option<Limiter>,
    lines: OfAll,
    swept: AtomicI64,
    beyond: AtomicU64,
    held_back: AtomicUsize,
}

impl FailureLimit {
    /// `burst` failures at once, and `per_minute` more in a minute. With zero a minute there is no limit.
    pub fn new(per_minute: u32, burst: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        Self::remembering(MOST_ADDRESSES, per_minute, burst, clock)
    }

    fn remembering(most: usize, per_minute: u32, burst: NonZeroU32, clock: Arc<dyn Clock>) -> Self {
        let limiter = NonZeroU32::new(per_minute).map(|per_minute| {
            let quota = Quota::per_minute(per_minute).allow_burst(burst);
            let elapsed = Elapsed::by(clock.clone());
            RateLimiter::new(quota, Addresses::at_most(most), elapsed)
        });
        let quota = Quota::per_minute(LINES_PER_MINUTE).allow_burst(MOST_LINES);
        let lines = RateLimiter::direct_with_clock(quota, Elapsed::by(clock.clone()));
        Self {
            swept: AtomicI64::new(clock.now().seconds()),
            clock,
            limiter,
            lines,
            beyond: AtomicU64::new(0),
            held_back: AtomicUsize::new(0),
        }
    }

    /// Whether a failure of `address` would be beyond the limit at this moment. Takes nothing.
    fn is_used_up(&self, address: Option<IpAddr>) -> bool {
        let question = Question {
            network: Network::of(address),
            whose: Whose::Theirs,
            takes: false,
        };
        let limiter = self.limiter.as_ref();
        limiter.is_some_and(|limiter| limiter.check_key(&question).is_err())
    }

    /// Takes a failure of `address` from its budget. If none is left: how long it is until there is.
    pub(super) fn take(&self, whose: Whose, address: Option<IpAddr>) -> Result<(), Seconds> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        self.sweep(limiter);
        let question = Question {
            network: Network::of(address),
            whose,
            takes: true,
        };
        limiter.check_key(&question).map_err(|until| {
            self.beyond.fetch_add(1, Ordering::Relaxed);
            let now = governor::clock::Clock::now(limiter.clock());
            let wait = until.wait_time_from(now).as_secs_f64().ceil();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a float becomes the nearest integer, and a wait is never negative"
            )]
            Seconds(wait as u32)
        })
    }

    /// Whether a failure that is within the limit of its address may have a line in the log too.
    pub(super) fn has_line(&self) -> bool {
        let has_line = self.limiter.is_none() || self.lines.check().is_ok();
        if !has_line {
            self.beyond.fetch_add(1, Ordering::Relaxed);
        }
        has_line
    }

    /// Forgets who may fail again as often as anybody, and says how much was answered without a line in the log.
    fn sweep(&self, limiter: &Limiter) {
        let now = self.clock.now().seconds();
        let swept = self.swept.load(Ordering::Relaxed);
        // A clock that was put back is believed, or nothing would be swept until it is where it was.
        if now >= swept && now - swept < i64::from(SWEEP_EVERY.0) {
            return;
        }
        let turn = Ordering::Relaxed;
        if self.swept.compare_exchange(swept, now, turn, turn).is_err() {
            return;
        }
        limiter.retain_recent();
        let failures = self.beyond.swap(0, Ordering::Relaxed);
        if failures > 0 {
            let addresses = limiter.len();
            tracing::warn!(
                failures,
                addresses,
                "failures beyond the limit of their address, or of all, since the last minute like this; they have no line \
                of their own"
            );
        }
    }

    /// How many addresses have a budget that is not whole, as of the last minute, and how many answers are held back.
    pub(super) fn standing(&self) -> (usize, usize) {
        let addresses = self.limiter.as_ref().map_or(0, Limiter::len);
        (addresses, self.held_back.load(Ordering::Relaxed))
    }

    /// Waits before a failure beyond the limit is answered, if there is room to wait; whether it was waited to the end.
    ///
    /// A client that sends on and on meanwhile is not waited with: once actix-http has 128 KiB that it has no use for, it
    /// looks at the connection without a pause, and so at this future, and waiting costs more than answering.
    async fn hold_back(&self, patience: &Patience) -> bool {
        let place = Place::of(&self.held_back);
        if place.before >= patience.most_held_back {
            return false;
        }
        let mut wait = pin!(tokio::time::sleep(patience.hold_back));
        let mut looks = 0;
        poll_fn(|context| {
            looks += 1;
            if looks > MOST_LOOKS {
                return Poll::Ready(false);
            }
            wait.as_mut().poll(context).map(|()| true)
        })
        .await
    }
}

/// One of those whose answer waits, for as long as it lives.
struct Place<'a> {
    all: &'a AtomicUsize,
    before: usize,
}

impl<'a> Place<'a> {
    fn of(all: &'a AtomicUsize) -> Self {
        let before = all.fetch_add(1, Ordering::Relaxed);
        Self { all, before }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who asks for an exchange.
#[derive(Clone, Copy)]
pub(super) struct Client {
    /// Its address.
    pub address: Option<IpAddr>,
    /// Whether that had no budget left when the request came.
    pub fails_often: bool,
}

/// `POST /oauth/token`, with its failures limited.
pub(super) async fn limited_token(
    request: HttpRequest,
    payload: Payload,
    service: Data<Service>,
) -> HttpResponse {
    let noted = request.extensions().get::<ClientAddress>().copied();
    let address = noted.and_then(|ClientAddress(address)| address);
    let client = Client {
        address,
        fails_often: service.failures.is_used_up(address),
    };
    let answer = oauth::token(&request, payload, &service, client).await;
    // A failure of ours says nothing about who asks.
    if answer.status().is_client_error() {
        limited(&request, &service, answer).await
    } else {
        answer
    }
}

/// Takes the failure that `answer` is from the budget of its address. If none is left, another answer takes its place.
pub(super) async fn limited(
    request: &HttpRequest,
    service: &Service,
    answer: HttpResponse,
) -> HttpResponse {
    let noted = request.extensions().get::<ClientAddress>().copied();
    let address = noted.and_then(|ClientAddress(address)| address);
    let Err(retry_after) = service.failures.take(Whose::Theirs, address) else {
        return answer;
    };
    service.metrics.http.rate_limited();
    // What waits should cost little: the request's token is gone by now, and so is the answer that is not given.
    drop(answer);
    let noted = request.extensions_mut().remove::<Noted>();
    let decision_id = noted.and_then(|noted| noted.decision_id);
    let waited = service.failures.hold_back(&service.patience).await;
    let mut answer = rate_limited(request, retry_after, decision_id);
    if !waited {
        // A connection costs whoever sends the flood more than a request.
        answer.head_mut().set_connection_type(ConnectionType::Close);
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::clock::{FrozenClock, UnixTime};

    fn limit(most: usize, per_minute: u32) -> (Arc<FrozenClock>, FailureLimit) {
        let clock = Arc::new(FrozenClock::at(UnixTime::from_seconds(1_795_176_000)));
        let burst = NonZeroU32::new(3).unwrap();
        let limit = FailureLimit::remembering(most, per_minute, burst, clock.clone());
        (clock, limit)
    }

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(n))
    }

    /// How many of a hundred failures are within the limit.
    fn within(limit: &FailureLimit, address: Option<IpAddr>) -> usize {
        (0..100)
            .filter(|_| limit.take(Whose::Theirs, address).is_ok())
            .count()
    }

    fn remembered(limit: &FailureLimit) -> usize {
        limit.limiter.as_ref().unwrap().len()
    }

    #[test]
    fn an_address_fails_as_often_as_its_budget_and_again_as_time_goes_by() {
        let (clock, limit) = limit(10, 60);
        assert_eq!(within(&limit, address(1).into()), 3);
        assert_eq!(within(&limit, address(2).into()), 3, "another has its own");
        clock.advance(Seconds(2));
        assert_eq!(within(&limit, address(1).into()), 2);
        clock.advance(Seconds(3600));
        assert_eq!(
            within(&limit, address(1).into()),
            3,
            "and never more than that"
        );
    }

    #[test]
    fn looking_takes_nothing() {
        let (_, limit) = limit(10, 60);
        for _ in 0..100 {
            assert!(!limit.is_used_up(address(1).into()));
        }
        assert_eq!(remembered(&limit), 0);
        within(&limit, address(1).into());
        assert!(limit.is_used_up(address(1).into()) && !limit.is_used_up(address(2).into()));
    }

    #[test]
    fn who_is_beyond_the_limit_learns_how_long() {
        let (clock, limit) = limit(10, 6);
        within(&limit, address(1).into());
        assert_eq!(
            limit.take(Whose::Theirs, address(1).into()),
            Err(Seconds(10))
        );
        clock.advance(Seconds(4));
        assert_eq!(
            limit.take(Whose::Theirs, address(1).into()),
            Err(Seconds(6))
        );
        clock.advance(Seconds(6));
        assert_eq!(limit.take(Whose::Theirs, address(1).into()), Ok(()));
    }

    #[test]
    fn a_flood_from_invented_addresses_buys_the_budget_of_one_and_a_bounded_memory() {
        let (clock, limit) = limit(10, 60);
        let invented = |n: &u32| limit.take(Whose::Theirs, address(*n).into()).is_ok();
        assert_eq!((0..10_000).filter(invented).count(), 10 + 3);
        assert_eq!(remembered(&limit), 11);
        assert_eq!(
            within(&limit, address(0).into()),
            2,
            "who was here first keeps its own"
        );
        clock.advance(Seconds(60));
        assert_eq!(within(&limit, address(10_001).into()), 3);
        assert_eq!(remembered(&limit), 1, "the others are forgotten");
    }

    #[test]
    fn the_addresses_of_a_network_of_ipv6_share_a_budget() {
        let (_, limit) = limit(10, 60);
        let of_one = |n: &u16| {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, *n);
            limit.take(Whose::Theirs, Some(IpAddr::V6(address))).is_ok()
        };
        assert_eq!((0..100).filter(of_one).count(), 3);
    }

    #[test]
    fn failures_of_ours_take_nothing_from_what_an_address_may_fail() {
        let (_, limit) = limit(1, 60);
        let ours = |n| {
            let taken = (0..100).filter(|_| limit.take(Whose::Ours, address(n).into()).is_ok());
            taken.count()
        };
        assert_eq!((ours(1), ours(2)), (3, 3));
        assert_eq!(within(&limit, address(1).into()), 3);
    }

    #[test]
    fn the_lines_of_all_addresses_together_are_bounded() {
        let (clock, limit) = limit(10, 60);
        let lines = || (0..10_000).filter(|_| limit.has_line()).count();
        assert_eq!(lines(), 6000);
        clock.advance(Seconds(60));
        assert_eq!(lines(), 1200);
    }

    #[test]
    fn a_request_without_an_address_is_limited_too() {
        assert_eq!(within(&limit(10, 60).1, None), 3);
    }

    #[test]
    fn with_zero_a_minute_there_is_no_limit() {
        let (_, limit) = limit(10, 0);
        assert_eq!(within(&limit, address(1).into()), 100);
        assert!(!limit.is_used_up(address(1).into()));
    }
}
