//! What a comparison with other programs needs: an issuer, the service, the floor, and tokens.

use std::io::Read as _;
use std::path::Path;

use crate::house::House;
use crate::slices;

/// Writes `tokens`, one a line, into the folder, says where everything is, and serves until standard input ends.
pub fn run(folder: &Path, tokens: usize) {
    let house = House::open();
    let (ours, floor) = (house.service("ours"), house.floor());
    let file = folder.join("tokens");
    slices::lines(&file, slices::tokens(&house.issuer, tokens).into_iter());
    println!("ISSUER={}", house.issuer.url);
    println!("OURS={}", ours.base);
    println!("OURS_PID={}", ours.pid());
    println!("FLOOR={}", floor.base);
    println!("FLOOR_PID={}", floor.pid());
    println!("TOKENS={}", file.display());
    // Whatever comes is passed over; only the end matters.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
