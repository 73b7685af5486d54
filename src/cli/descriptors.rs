//! How many files and connections this process may have open.

use std::num::NonZeroUsize;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::http::Patience;

/// Kept for all that is no connection of a client: the store's files, policies, requests to issuers.
const RESERVED: usize = 256;

/// What one connection takes: its own, and the one through which it is ended.
const OF_A_CONNECTION: usize = 2;

/// Raises the limit of open files to what this process may raise it to: the usual one, 1024, is from a time of `select`.
pub(super) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(fault) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%fault, "the limit of open files stays as it is");
    }
}

/// How many connections may be open where the configuration says `configured`. Without a word of it as many as there is
/// room for, up to the default.
pub(super) fn connections(configured: Option<NonZeroUsize>) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let room = room(limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    }));
    match configured {
        None => {
            let usual = Patience::default().connections;
            if is_scarce(room) {
                tracing::warn!(
                    connections = room,
                    of_one_address = room / 2,
                    open_files_wanted = files_for(usual),
                    "the limit of open files leaves room for few connections, of which one address, as of a NAT with \
                    many jobs behind it, has at most half: raise `LimitNOFILE` of systemd, or `ulimit -Hn`"
                );
            }
            room.min(usual)
        }
        Some(configured) => {
            let configured = configured.get();
            if configured > room {
                tracing::warn!(
                    configured,
                    room,
                    "`max-connections` is more than the limit of open files allows"
                );
            }
            configured
        }
    }
}

/// Whether `room` is far below what there is usually.
fn is_scarce(room: usize) -> bool {
    room < Patience::default().connections / 2
}

/// How many files it takes to have room for `connections`.
fn files_for(connections: usize) -> usize {
    RESERVED + connections * OF_A_CONNECTION
}

/// How many connections `files` have room for.
fn room(files: usize) -> usize {
    (files.saturating_sub(RESERVED) / OF_A_CONNECTION).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        assert_eq!(room(1024), 384);
        assert_eq!(room(20_256), 10_000);
        assert_eq!(room(100), 2, "some are always tried");
        assert_eq!(room(files_for(10_000)), 10_000);
    }

    #[test]
    fn a_limit_that_leaves_an_address_some_hundred_connections_is_warned_of() {
        assert!(is_scarce(room(1024)) && is_scarce(room(4096)));
        assert!(!is_scarce(room(20_256)));
    }

    #[test]
    fn without_a_setting_there_are_as_many_as_there_is_room_for_and_ten_thousand_at_most() {
        assert!((2..=10_000).contains(&connections(None)));
        assert_eq!(connections(NonZeroUsize::new(7)), 7);
    }
}
