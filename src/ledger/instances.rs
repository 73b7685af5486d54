//! What the instances of one service tell each other through the store.

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::StoreUnavailable;
use crate::clock::Seconds;

/// How long an instance counts as running after it was last heard of.
pub const SEEN_WITHIN: Seconds = Seconds(30);

/// What every instance holds a copy of, and must read again when another one has changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Our signing keys.
    SigningKeys,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::SigningKeys];

    /// The name by which the store knows it. Never renamed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SigningKeys => "signing-keys",
        }
    }
}

/// Tells every instance that another one has changed something.
pub trait Changes: Send + Sync {
    /// Hears of the changes of `topic` that are committed from here on, by this instance or by another.
    fn following(&self, topic: Topic) -> Following;
}

/// Waits for changes that other instances make.
#[derive(Debug)]
pub struct Following(Option<watch::Receiver<u64>>);

impl Following {
    /// For a store that no other instance uses: nothing is ever heard.
    pub fn alone() -> Self {
        Self(None)
    }

    /// Hears whenever the number in `changes` rises.
    pub fn of(mut changes: watch::Receiver<u64>) -> Self {
        changes.mark_unchanged();
        Self(Some(changes))
    }

    /// Returns once something was changed since the last call. Several changes may be one, and one may be heard of though
    /// nothing is new: after a cut connection nobody knows what was missed. Who alone uses the store waits for ever.
    pub async fn changed(&mut self) {
        if let Some(changes) = &mut self.0
            && changes.changed().await.is_ok()
        {
            return;
        }
        // There is nobody who could tell, or not any more.
        self.0 = None;
        std::future::pending::<()>().await;
    }
}

/// What an instance says of itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Presence {
    /// What an operator knows it by.
    pub name: String,
    /// The version of the program.
    pub program: String,
    /// The digest of the policies that it has in force.
    pub policies: String,
    /// The digest of those settings that all instances must have alike.
    pub settings: String,
}

/// Knows which instances run on the store.
pub trait Instances: Send + Sync {
    /// Says what this instance is, which counts for [`SEEN_WITHIN`], and answers what the others said last, sorted. Whose
    /// word is older is left out. It is the store's time that counts.
    fn meet(&self, myself: Presence) -> BoxFuture<'_, Result<Vec<Presence>, StoreUnavailable>>;

    /// Says that this instance ends, so that nobody waits for it.
    fn leave(&self) -> BoxFuture<'_, Result<(), StoreUnavailable>>;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_change_is_heard_once_and_several_may_be_one() {
        let (tell, changes) = watch::channel(7);
        let mut following = Following::of(changes);
        assert_eq!(following.changed().now_or_never(), None, "nothing is new");
        tell.send_replace(8);
        tell.send_replace(9);
        assert_eq!(following.changed().now_or_never(), Some(()));
        assert_eq!(following.changed().now_or_never(), None);
    }

    #[test]
    fn who_is_alone_or_was_left_alone_hears_nothing() {
        assert_eq!(Following::alone().changed().now_or_never(), None);
        let (tell, changes) = watch::channel(0);
        let mut following = Following::of(changes);
        drop(tell);
        assert_eq!(following.changed().now_or_never(), None);
        assert_eq!(following.changed().now_or_never(), None);
    }
}
