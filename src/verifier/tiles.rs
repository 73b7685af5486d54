//! A log in the layout of C2SP tlog-tiles: a folder with a copy, or what a service serves.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::align::align;
use super::file;
use super::report::{Fault, Place, What};
use super::source::{Block, Blocks, Kept, Manner, Source, Tile, Unavailable, Values, hashes};
use super::tree::{self, Hash, TILE};

/// Hands out the resources of a log by their names below its prefix: `checkpoint`, `tile/0/x001/234`.
pub trait Fetch: Sync {
    /// The resource; `None` if there is none of this name.
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Unavailable>;

    /// How many threads may ask at once; `None` for as many as there are processors.
    fn threads(&self) -> Option<usize>;
}

/// A folder with a copy.
#[derive(Debug)]
pub struct Copy(PathBuf);

impl Copy {
    /// The copy in this folder.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }
}

impl Fetch for Copy {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        file::read(&self.0.join(name))
    }

    fn threads(&self) -> Option<usize> {
        None
    }
}

/// A log in tiles.
#[derive(Debug)]
pub struct Tiles<F> {
    fetch: F,
    has_withheld: bool,
}

impl<F: Fetch> Tiles<F> {
    /// The log whose resources `fetch` hands out. `has_withheld` says whether it is asked for `withheld/<index>.json`.
    pub fn new(fetch: F, has_withheld: bool) -> Self {
        Self {
            fetch,
            has_withheld,
        }
    }

    /// The resource of a tile or a bundle, and its name. If the partial one is gone, the full one has it too.
    fn resource(&self, kind: &str, number: u64, width: usize) -> Result<Resource, Unavailable> {
        let full = format!("tile/{kind}/{}", path(number));
        if width == TILE {
            let octets = self.fetch.get(&full)?;
            return Ok(Resource {
                name: full,
                octets,
                width: TILE,
            });
        }
        let partial = format!("{full}.p/{width}");
        let octets = self.fetch.get(&partial)?;
        if octets.is_none()
            && let Some(octets) = self.fetch.get(&full)?
        {
            let octets = Some(octets);
            return Ok(Resource {
                name: full,
                octets,
                width: TILE,
            });
        }
        Ok(Resource {
            name: partial,
            octets,
            width,
        })
    }

    fn bundle(&self, block: &mut Block, width: usize) -> Result<(), Unavailable> {
        let number = block.number;
        let first = number * TILE as u64;
        let resource = self.resource("entries", number, width)?;
        let Some(octets) = resource.octets else {
            block
                .faults
                .push(Fault::of_entry(first, What::TileMissing).at(&resource.name, 0));
            block.slots.resize(width, None);
            return Ok(());
        };
        let (entries, rest) = entries(&octets, resource.width);
        if rest < octets.len() {
            let fault = Fault::of_entry(first, What::BundleLong(octets.len() - rest));
            block.faults.push(fault.at(&resource.name, rest as u64));
        }
        let name = resource.name;
        if entries.len() == resource.width {
            block.files.push(name);
            for (offset, leaf) in entries.iter().take(width) {
                block.push_leaf(leaf, *offset, None);
            }
            return Ok(());
        }
        self.place(block, &entries, width, name)
    }

    /// Puts the entries of a bundle that has too few of them where the tree knows them.
    fn place(
        &self,
        block: &mut Block,
        entries: &[(u64, &[u8])],
        width: usize,
        name: String,
    ) -> Result<(), Unavailable> {
        let expected = self.tile(0, block.number, width)?.hashes;
        let found: Vec<Hash> = entries
            .iter()
            .map(|(_, leaf)| tree::leaf(&[&[0], *leaf].concat()))
            .collect();
        block.files.push(name);
        let alignment = align(&found, &expected, width);
        for slot in alignment.slots {
            match slot.and_then(|at| entries.get(at)) {
                Some((offset, leaf)) => block.push_leaf(leaf, *offset, None),
                None => block.slots.push(None),
            }
        }
        Ok(())
    }
}

struct Resource {
    name: String,
    octets: Option<Vec<u8>>,
    width: usize,
}

/// The number of a tile as elements of a path of three digits each.
fn path(number: u64) -> String {
    let last = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    let mut elements = vec![last];
    while rest > 0 {
        elements.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    elements.reverse();
    elements.join("/")
}

/// At most `most` entries of a bundle, each with its offset, and where they end.
fn entries(octets: &[u8], most: usize) -> (Vec<(u64, &[u8])>, usize) {
    let mut entries = Vec::with_capacity(most);
    let mut offset = 0;
    while entries.len() < most {
        let Some((length, rest)) = octets.get(offset..).and_then(<[u8]>::split_first_chunk) else {
            break;
        };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some(leaf) = rest.get(..length) else {
            break;
        };
        entries.push((offset as u64, leaf));
        offset += 2 + length;
    }
    (entries, offset)
}

impl<F: Fetch> Source for Tiles<F> {
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, Unavailable> {
        self.fetch.get("checkpoint")
    }

    fn cosigned_checkpoint(&self) -> Result<Option<Vec<u8>>, Unavailable> {
        self.fetch.get("cosigned-checkpoint")
    }

    fn key(&self) -> Result<Option<Vec<u8>>, Unavailable> {
        self.fetch.get("key")
    }

    fn tile(&self, level: u8, number: u64, width: usize) -> Result<Tile, Unavailable> {
        let resource = self.resource(&level.to_string(), number, width)?;
        let mut tile = Tile {
            file: resource.name,
            ..Tile::default()
        };
        match resource.octets {
            None => tile.fault = Some(What::TileMissing),
            Some(octets) => {
                let expected = 32 * resource.width;
                if octets.len() != expected {
                    let found = octets.len();
                    tile.fault = Some(What::TileLength { expected, found });
                }
                tile.hashes = hashes(&octets);
                tile.hashes.truncate(width);
            }
        }
        Ok(tile)
    }

    fn blocks(&self, size: u64, _: Manner) -> Box<dyn Blocks + '_> {
        Box::new(Bundles {
            tiles: self,
            size,
            next: AtomicU64::new(0),
        })
    }

    fn withheld(&self, first: u64, width: usize, values: &mut Values) -> Result<(), Unavailable> {
        if !self.has_withheld {
            return Ok(());
        }
        for index in (first..).take(width) {
            let file = format!("withheld/{index}.json");
            values.slots.push(match self.fetch.get(&file)? {
                None => Kept::Unknown,
                Some(octets) => {
                    let start = values.octets.len();
                    values.octets.extend(octets);
                    let place = Place { file, offset: 0 };
                    Kept::There(start..values.octets.len(), None, place)
                }
            });
        }
        Ok(())
    }

    fn first_gone(&self, first: u64, _: u64) -> Result<(u64, Place), Unavailable> {
        // Nobody who copies a log must copy values.
        let file = format!("withheld/{first}.json");
        Ok((first, Place { file, offset: 0 }))
    }

    fn removed_beyond(&self, _: u64) -> Result<u64, Unavailable> {
        Ok(0)
    }

    fn beyond(&self, _: u64) -> u64 {
        0
    }

    fn threads(&self) -> Option<usize> {
        self.fetch.threads()
    }

    fn may_be_shifted(&self) -> bool {
        false
    }
}

/// The bundles, each by its own name.
struct Bundles<'s, F> {
    tiles: &'s Tiles<F>,
    size: u64,
    next: AtomicU64,
}

impl<F: Fetch> Blocks for Bundles<'_, F> {
    fn next(&self, block: &mut Block) -> Result<bool, Unavailable> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(width) = tile_width(self.size, number) else {
            return Ok(false);
        };
        block.start(number);
        self.tiles.bundle(block, width)?;
        Ok(true)
    }
}

/// How many entries tile `number` of a log of this size has; `None` if it has none.
pub fn tile_width(size: u64, number: u64) -> Option<usize> {
    let left = size.checked_sub(number.checked_mul(TILE as u64)?)?;
    let width = usize::try_from(left.min(TILE as u64)).unwrap_or(TILE);
    (width > 0).then_some(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_the_specification_has_it() {
        assert_eq!(path(1_234_067), "x001/x234/067");
        assert_eq!(path(0), "000");
        assert_eq!(path(999), "999");
        assert_eq!(path(1000), "x001/000");
    }

    #[test]
    fn a_bundle_is_read_up_to_its_last_whole_entry() {
        let octets = b"\0\x01a\0\0\0\x02bc\0\x05d";
        let (found, end) = entries(octets, 256);
        assert_eq!(found, [(0, &b"a"[..]), (3, b""), (5, b"bc")]);
        assert_eq!(end, 9);
        assert_eq!(entries(octets, 1).1, 3);
    }

    #[test]
    fn the_last_tile_is_as_wide_as_the_size_says() {
        assert_eq!(tile_width(70_000, 272), Some(256));
        assert_eq!(tile_width(70_000, 273), Some(112));
        assert_eq!(tile_width(70_000, 274), None);
        assert_eq!(tile_width(512, 2), None);
        assert_eq!(tile_width(0, 0), None);
    }
}
