//! Network filters: what stands on a client's connection below HTTP.
//!
//! They are a contract of their own, because they see connections and bytes where HTTP filters see messages.

mod layer;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use smallvec::SmallVec;

pub use layer::join;

/// A connection that has come, before its TLS handshake.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The client.
    pub remote: SocketAddr,
    /// Where it connected to.
    pub local: SocketAddr,
    /// The name it asks for (SNI), if a listener filter has read it.
    pub server_name: Option<&'a str>,
}

/// How to go on with a connection (Envoy's `FilterStatus`; a close is a call of its own there).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkAction {
    /// To the next filter.
    Continue,
    /// Close it, after so long.
    Close(Duration),
}

/// How to go on with bytes (Envoy's `FilterStatus`; a close is a call of its own there).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BytesAction {
    /// What is left of them goes to the next filter.
    Continue,
    /// Hold them here: they come again, with those that follow behind them.
    Stop,
    /// Close the connection; what was held is lost.
    Close,
}

/// One network filter on one connection. As in Envoy filters hear of a connection before its TLS handshake, and see bytes as
/// they are inside of TLS.
pub trait NetworkFilter {
    /// Whether it wants to see bytes. Asked once; where nobody does, they pass at no cost.
    fn wants_bytes(&self) -> bool {
        false
    }

    /// A connection has come (Envoy's `onNewConnection`).
    fn on_new_connection(&mut self, arrival: &Arrival<'_>) -> NetworkAction;

    /// Bytes came from the client, behind those that were held here; they may be changed. `end`: no more will come (Envoy's
    /// `onData`).
    fn on_data(&mut self, _data: &mut BytesMut, _end: bool) -> BytesAction {
        BytesAction::Continue
    }

    /// The same towards the client, in reverse order of the filters (Envoy's `onWrite`).
    fn on_write(&mut self, _data: &mut BytesMut, _end: bool) -> BytesAction {
        BytesAction::Continue
    }

    /// It is gone, whoever ended it. Called once, also if this or another filter had it closed.
    fn on_close(&mut self) {}
}

/// The network filters of one connection, in configuration order.
pub struct NetworkChain<F: NetworkFilter>(SmallVec<[F; 1]>);

impl<F: NetworkFilter> NetworkChain<F> {
    /// These filters. Allocates only for more than one.
    pub fn new(filters: impl IntoIterator<Item = F>) -> Self {
        Self(filters.into_iter().collect())
    }

    /// Asks one after the other until one does not go on.
    pub fn new_connection(&mut self, arrival: &Arrival<'_>) -> NetworkAction {
        let mut asked = self.0.iter_mut().map(|filter| filter.on_new_connection(arrival));
        asked.find(|action| *action != NetworkAction::Continue).unwrap_or(NetworkAction::Continue)
    }
}

impl<F: NetworkFilter> Drop for NetworkChain<F> {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(NetworkFilter::on_close);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    struct Scripted(NetworkAction, &'static str, Rc<RefCell<Vec<String>>>);

    impl NetworkFilter for Scripted {
        fn on_new_connection(&mut self, arrival: &Arrival<'_>) -> NetworkAction {
            self.2.borrow_mut().push(format!("{} came {}", self.1, arrival.remote));
            self.0
        }

        fn on_close(&mut self) {
            self.2.borrow_mut().push(format!("{} gone", self.1));
        }
    }

    #[test]
    fn the_first_that_does_not_go_on_decides_and_all_hear_of_the_end() {
        let trace = Rc::default();
        let filter = |action, name| Scripted(action, name, Rc::clone(&trace));
        let wait = NetworkAction::Close(Duration::from_secs(1));
        let arrival = Arrival {
            remote: "127.0.0.1:1".parse().unwrap(),
            local: "127.0.0.1:2".parse().unwrap(),
            server_name: None,
        };
        let mut chain = NetworkChain::new([filter(NetworkAction::Continue, "a"), filter(wait, "b"), filter(wait, "c")]);
        assert_eq!(chain.new_connection(&arrival), wait);
        drop(chain);
        assert_eq!(*trace.borrow(), ["a came 127.0.0.1:1", "b came 127.0.0.1:1", "a gone", "b gone", "c gone"]);
        assert_eq!(NetworkChain::<Scripted>::new([]).new_connection(&arrival), NetworkAction::Continue);
    }
}
