//! The paths of tiles and entry bundles (C2SP tlog-tiles, "Merkle Tree" and "Log entries").

use std::fmt::Write as _;
use std::ops::Range;

use crate::audit::tree::{TILE, TILE_HEIGHT};

/// The highest level that a path may name.
const HIGHEST: u8 = 63;

/// Which tile or bundle somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TilePath {
    /// The level of a tile; `None` for the entries below level 0.
    pub level: Option<u8>,
    /// Which of its level.
    index: u64,
    /// How many hashes or entries of it.
    width: u64,
}

impl TilePath {
    /// Reads what follows `/audit/tile/`, octet by octet as it stands in the request. Each tile has one path: whatever is
    /// not written as the specification has it is no path of a tile.
    pub fn parse(path: &str) -> Option<Self> {
        let (level, rest) = path.split_once('/')?;
        let level = match level {
            "entries" => None,
            level => Some(small(level).filter(|level| *level <= HIGHEST)?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, u64::from(small(width).filter(|width| *width > 0)?)),
            None => (rest, TILE),
        };
        Some(Self {
            level,
            index: index_of(index)?,
            width,
        })
    }

    /// The hashes or entries of it, counted from the begin of its level, if a tree of `size` leaves has them all.
    pub fn within(&self, size: u64) -> Option<Range<u64>> {
        let height = u32::from(self.level.unwrap_or(0)).checked_mul(TILE_HEIGHT)?;
        let there = size.checked_shr(height).unwrap_or(0);
        let start = self.index.checked_mul(TILE)?;
        let end = start.checked_add(self.width)?;
        (end <= there).then_some(start..end)
    }
}

/// A number below 256 without zeroes before it.
fn small(text: &str) -> Option<u8> {
    let number: u8 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The index in groups of three digits, all but the last with an `x` before them.
fn index_of(text: &str) -> Option<u64> {
    let mut index: u64 = 0;
    for group in text.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        let is_group = digits.len() == 3 && digits.bytes().all(|octet| octet.is_ascii_digit());
        let group = digits.parse::<u64>().ok().filter(|_| is_group)?;
        index = index.checked_mul(1000)?.checked_add(group)?;
    }
    (in_groups(index) == text).then_some(index)
}

/// The one way to write an index.
fn in_groups(index: u64) -> String {
    let mut groups = vec![index % 1000];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(rest % 1000);
        rest /= 1000;
    }
    let mut text = String::new();
    for (above, group) in groups.iter().enumerate().rev() {
        // Writing to a text does not fail.
        let _ = match above {
            0 => write!(text, "{group:03}"),
            _ => write!(text, "x{group:03}/"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(level: u8, index: u64, width: u64) -> TilePath {
        TilePath {
            level: Some(level),
            index,
            width,
        }
    }

    #[test]
    fn a_path_is_read_as_the_specification_has_it() {
        for (path, expected) in [
            ("0/000", tile(0, 0, 256)),
            ("0/999", tile(0, 999, 256)),
            ("0/x001/000", tile(0, 1000, 256)),
            ("0/x001/x234/067", tile(0, 1_234_067, 256)),
            ("63/000.p/1", tile(63, 0, 1)),
            ("1/x001/234.p/255", tile(1, 1234, 255)),
            (
                "0/x018/x446/x744/x073/x709/x551/615",
                tile(0, u64::MAX, 256),
            ),
        ] {
            assert_eq!(TilePath::parse(path), Some(expected), "{path}");
            assert!(path.contains(&in_groups(expected.index)), "{path}");
        }
        let bundle = TilePath::parse("entries/x001/234.p/7").unwrap();
        assert_eq!((bundle.level, bundle.index, bundle.width), (None, 1234, 7));
    }

    #[test]
    fn whatever_else_is_written_is_no_path_of_a_tile() {
        for path in [
            "",
            "/",
            "0",
            "0/",
            "/000",
            "00/000",
            "01/000",
            "+1/000",
            "-1/000",
            "64/000",
            "256/000",
            "data/000",
            "entries",
            "Entries/000",
            "0/0",
            "0/00",
            "0/0000",
            "0/1000",
            "0/x000",
            "0/000/",
            "0//000",
            "0/x000/001",
            "0/001/000",
            "0/x001/x000",
            "0/X001/000",
            "0/x001/00",
            "0/xx01/000",
            "0/x+01/000",
            "0/+01",
            "0/-01",
            "0/٣٣٣",
            "0/000.p",
            "0/000.p/",
            "0/000.p/0",
            "0/000.p/00",
            "0/000.p/01",
            "0/000.p/256",
            "0/000.p/1000",
            "0/000.p/-1",
            "0/000.p/1/",
            "0/000.p/1.p/1",
            "0/000.P/1",
            "0/000p/1",
            "0/.p/1",
            "0/../000",
            "../0/000",
            "0/%30%30%30",
            "0/000%2ep/1",
            "0/000 ",
            "0/x018/x446/x744/x073/x709/x551/616",
            "0/x999/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TilePath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_tree_has_the_tiles_that_the_specification_counts() {
        // The example of the specification: 70,000 leaves.
        for (path, is_there) in [
            ("0/272", true),
            ("0/273", false),
            ("0/273.p/112", true),
            ("0/273.p/113", false),
            ("0/272.p/255", true),
            ("0/274.p/1", false),
            ("1/000", true),
            ("1/001", false),
            ("1/001.p/17", true),
            ("1/001.p/18", false),
            ("2/000.p/1", true),
            ("2/000.p/2", false),
            ("3/000.p/1", false),
            ("8/000.p/1", false),
            ("63/000.p/1", false),
            ("entries/273.p/112", true),
            ("entries/273", false),
            ("0/x018/x446/x744/x073/x709/x551/615", false),
            ("0/x072/x057/x594/x037/x927/936", false),
        ] {
            let tile = TilePath::parse(path).unwrap();
            assert_eq!(tile.within(70_000).is_some(), is_there, "{path}");
        }
        let within = |path, size| TilePath::parse(path).unwrap().within(size);
        assert_eq!(within("0/000", 255), None);
        assert_eq!(within("0/000", 256), Some(0..256));
        assert_eq!(within("1/000.p/1", 256), Some(0..1));
        assert_eq!(within("0/001.p/1", 256), None);
        assert_eq!(within("0/000.p/1", 0), None);
    }
}
