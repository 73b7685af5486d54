//! What the parts cost that no exchange can do without, measured in the same run.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};

use std::path::Path;

use crate::Options;
use crate::drive::running::Running;
use crate::measure::{cpu_micros, median, own_cpu_nanos};
use crate::wrk::{Load, What};

/// How many operations are timed together, and how often that is done.
const TOGETHER: u32 = 2000;
const TIMES: usize = 15;

/// How much of a token is signed, in octets.
const SIGNED: usize = 1500;

/// Processor time in microseconds.
pub struct Reference {
    /// Checking a signature of an RSA key of 2048 bits that was read before.
    pub verify: f64,
    /// Signing a token with a P-256 key.
    pub sign: f64,
    /// A request of the same size at the floor server, whose body is read and whose answer is fixed.
    pub bare: f64,
}

impl Reference {
    pub fn sum(&self) -> f64 {
        self.verify + self.sign + self.bare
    }
}

/// Measures all three; a bare request by sending `lines` to `floor`.
pub fn measure(floor: &Running, lines: &Path, options: Options) -> Reference {
    let random = SystemRandom::new();
    let message = vec![b'a'; SIGNED];

    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut signature = vec![0; rsa.public_modulus_len()];
    rsa.sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature)
        .unwrap();
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, rsa.public_key().as_ref()).unwrap();
    let verify = micros(|| key.verify_sig(&message, &signature).unwrap());

    let own = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let sign = micros(|| own.sign(&random, &message).unwrap());

    let before = cpu_micros(floor.pid());
    let load = Load {
        base: &floor.base,
        what: What::To("/bare", lines),
        connections: options.connections,
        seconds: options.seconds,
    };
    let run = load.run();
    let bare = (cpu_micros(floor.pid()) - before) / run.requests;
    Reference { verify, sign, bare }
}

/// The processor time of one call.
fn micros<T>(mut call: impl FnMut() -> T) -> f64 {
    let times: Vec<f64> = (0..TIMES)
        .map(|_| {
            let before = own_cpu_nanos();
            for _ in 0..TOGETHER {
                std::hint::black_box(call());
            }
            (own_cpu_nanos() - before) / f64::from(TOGETHER) / 1e3
        })
        .collect();
    median(&times)
}
