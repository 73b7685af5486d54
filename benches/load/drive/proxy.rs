//! A network between an instance and its database that fails when it is told to: it cuts, delays, swallows and holds.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes.
    Fair,
    /// Everything passes, after this long each way.
    Slow(Duration),
    /// What the server says is lost; what it is asked still arrives.
    Deaf,
    /// Nothing passes, and nobody is told so.
    Silent,
    /// Whoever connects is hung up on.
    Refusing,
}

/// The network. It is there until the process ends.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    now: Mutex<Now>,
    changed: Condvar,
}

struct Now {
    server: SocketAddr,
    weather: Weather,
    open: Vec<TcpStream>,
    /// How often something that the server said was lost.
    lost: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Asking,
    Answering,
}

impl Proxy {
    /// Between who connects to it on loopback and the loopback port `server`.
    pub fn to(server: u16) -> Self {
        Self::on("127.0.0.1", server)
    }

    /// The same for who connects to it on the address `here`.
    pub fn on(here: &str, server: u16) -> Self {
        let listener = TcpListener::bind((here, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            now: Mutex::new(Now {
                server: loopback(server),
                weather: Weather::Fair,
                open: Vec::new(),
                lost: 0,
            }),
            changed: Condvar::new(),
        });
        let serving = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                serving.admit(client);
            }
        });
        Self { address, state }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on it leads to another port.
    pub fn aim(&self, server: u16) {
        self.state.now().server = loopback(server);
    }

    /// From now on it is like this, for open connections too.
    pub fn set(&self, weather: Weather) {
        self.state.now().weather = weather;
        self.state.changed.notify_all();
    }

    /// Ends every connection that is open, and answers how many streams that were.
    pub fn cut(&self) -> usize {
        let open = std::mem::take(&mut self.state.now().open);
        for stream in &open {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.state.changed.notify_all();
        open.len()
    }

    /// How often something that the server said was lost so far.
    pub fn lost(&self) -> usize {
        self.state.now().lost
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl State {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap()
    }

    fn admit(self: &Arc<Self>, client: TcpStream) {
        let (weather, server) = {
            let now = self.now();
            (now.weather, now.server)
        };
        if weather == Weather::Refusing {
            return;
        }
        let Ok(server) = TcpStream::connect(server) else {
            return;
        };
        let streams = [&client, &server].map(|stream| {
            stream.set_nodelay(true).unwrap();
            stream.try_clone().unwrap()
        });
        self.now().open.extend(streams);
        let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
        for (from, to, direction) in [
            (client, server, Direction::Asking),
            (back.0, back.1, Direction::Answering),
        ] {
            let state = self.clone();
            std::thread::spawn(move || state.forward(from, to, direction));
        }
    }

    fn forward(&self, mut from: TcpStream, mut to: TcpStream, direction: Direction) {
        let mut octets = vec![0; 1 << 16];
        loop {
            let read = from.read(&mut octets).unwrap_or(0);
            if read == 0 {
                break;
            }
            if !self.lets_pass(direction) {
                continue;
            }
            if to.write_all(&octets[..read]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Waits as long as the network makes it wait. Answers whether it arrives.
    fn lets_pass(&self, direction: Direction) -> bool {
        let silent = |now: &mut Now| now.weather == Weather::Silent;
        let mut now = self.changed.wait_while(self.now(), silent).unwrap();
        match now.weather {
            Weather::Slow(delay) => {
                drop(now);
                // This is what is slow, and nobody waits for it but whom it is to slow down.
                std::thread::sleep(delay);
                true
            }
            Weather::Deaf if direction == Direction::Answering => {
                now.lost += 1;
                false
            }
            _ => true,
        }
    }
}
