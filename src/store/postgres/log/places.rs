//! Which entries of a chunk have a fact.
//!
//! Written as their places in the chunk, ascending, two octets each, little-endian; from 256 places on as 512 octets with
//! one bit for each entry of the chunk, the lowest bit of the first octet first. So no two sets are written alike, and the
//! length says which form it is.

/// How many entries a chunk has.
pub(super) const CHUNK: u64 = 4096;

/// The length of the form with bits, in octets.
const BITS: usize = 512;

/// A set of places in a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places([u8; BITS]);

impl Places {
    /// No place.
    pub(super) const NONE: Self = Self([0; BITS]);

    /// Adds a place, which is below [`CHUNK`].
    pub(super) fn insert(&mut self, place: u16) {
        if let Some(octet) = self.0.get_mut(usize::from(place / 8)) {
            *octet |= 1 << (place % 8);
        }
    }

    /// Takes a place out.
    pub(super) fn remove(&mut self, place: u16) {
        if let Some(octet) = self.0.get_mut(usize::from(place / 8)) {
            *octet &= !(1 << (place % 8));
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|octet| *octet == 0)
    }

    /// Leaves the places that `other` has too.
    pub(super) fn keep(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(&other.0) {
            *ours &= theirs;
        }
    }

    /// All of them, ascending.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = u16> + '_ {
        let octets = (0..).step_by(8).zip(&self.0);
        // Iterated from both ends, so the numbers of octets are counted, not enumerated.
        let octets: Vec<(u16, u8)> = octets.map(|(first, octet)| (first, *octet)).collect();
        octets.into_iter().flat_map(|(first, octet)| {
            (0..8_u16)
                .filter(move |bit| octet & (1 << bit) != 0)
                .map(move |bit| first + bit)
        })
    }

    /// As they are written.
    pub(super) fn write(&self) -> Vec<u8> {
        let count: u32 = self.0.iter().map(|octet| octet.count_ones()).sum();
        if count as usize * 2 >= BITS {
            return self.0.to_vec();
        }
        self.iter().flat_map(u16::to_le_bytes).collect()
    }

    /// Reads them back; `None` if these octets were never written.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        if let Ok(bits) = octets.try_into() {
            let places = Self(bits);
            return (places.iter().count() * 2 >= BITS).then_some(places);
        }
        if octets.len() > BITS || !octets.len().is_multiple_of(2) {
            return None;
        }
        let mut places = Self::NONE;
        let mut least = 0;
        for pair in octets.chunks_exact(2) {
            let place = u16::from_le_bytes(pair.try_into().ok()?);
            if place < least || u64::from(place) >= CHUNK {
                return None;
            }
            places.insert(place);
            least = place + 1;
        }
        Some(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(places: impl IntoIterator<Item = u16>) -> Places {
        let mut all = Places::NONE;
        places.into_iter().for_each(|place| all.insert(place));
        all
    }

    #[test]
    fn places_are_read_back_as_they_were_written_in_the_shorter_form() {
        for (count, length) in [(0, 0), (1, 2), (255, 510), (256, 512), (4096, 512)] {
            let places = of((0..count).map(|place| if count < 4096 { place * 15 } else { place }));
            let written = places.write();
            assert_eq!(written.len(), length, "{count} places");
            assert_eq!(Places::read(&written), Some(places));
        }
        assert_eq!(of([1, 300]).write(), [1, 0, 44, 1]);
    }

    #[test]
    fn octets_that_were_never_written_are_not_read() {
        for octets in [
            vec![1],
            vec![1, 0, 1, 0],
            vec![2, 0, 1, 0],
            vec![0, 16],
            vec![0; 512],
            vec![0; 514],
        ] {
            assert_eq!(Places::read(&octets), None, "{octets:?}");
        }
    }

    #[test]
    fn places_come_in_order_from_either_end_and_are_taken_out() {
        let mut places = of([4095, 0, 7, 8, 1000]);
        assert!(places.iter().eq([0, 7, 8, 1000, 4095]));
        assert!(places.iter().rev().eq([4095, 1000, 8, 7, 0]));
        places.remove(8);
        places.remove(9);
        places.keep(&of([7, 8, 9]));
        assert!(places.iter().eq([7]));
        places.remove(7);
        assert!(places.is_empty());
    }
}
