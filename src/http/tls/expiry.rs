//! When a certificate expires (RFC 5280, section 4.1).

use crate::clock::UnixTime;

/// Tags of DER (X.690, section 8).
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version of a certificate, which may be left out.
const VERSION: u8 = 0xA0;

/// The last moment at which the certificate is good, if it can be read.
pub(super) fn last_moment(certificate: &[u8]) -> Option<UnixTime> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    if let (VERSION, _, rest) = element(fields)? {
        fields = rest;
    }
    // Serial number, algorithm, issuer; then the validity.
    for _ in 0..3 {
        (_, _, fields) = element(fields)?;
    }
    let (tag, validity, _) = element(fields)?;
    let (_, _, after) = element(validity)?;
    let (kind, time, _) = element(after)?;
    (tag == SEQUENCE).then_some(())?;
    moment(kind, time)
}

/// The first element of `octets`: its tag, what is in it, and what follows.
fn element(octets: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = octets.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (octets, rest) = rest.split_at_checked(long & 0x7F)?;
            let add = |length: usize, octet: &u8| {
                length.checked_mul(256)?.checked_add(usize::from(*octet))
            };
            (octets.iter().try_fold(0, add)?, rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// `YYMMDDHHMMSSZ`, or the same with four digits of the year (RFC 5280, section 4.1.2.5).
fn moment(kind: u8, time: &[u8]) -> Option<UnixTime> {
    let text = std::str::from_utf8(time).ok()?;
    let digits = text.strip_suffix('Z')?;
    let (year, rest) = match kind {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let mut rest = rest;
    let mut parts = [0_i64; 5];
    for part in &mut parts {
        let (digits, after) = rest.split_at_checked(2)?;
        *part = digits.parse().ok()?;
        rest = after;
    }
    let [month, day, hour, minute, second] = parts;
    let days = days_since_1970(year, month, day);
    Some(UnixTime::from_seconds(
        ((days * 24 + hour) * 60 + minute) * 60 + second,
    ))
}

/// Days of the Gregorian calendar. Years begin with March, so that the day which not every year has is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn until(year: i32, month: u8, day: u8) -> Option<UnixTime> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, month, day);
        let key = KeyPair::generate().unwrap();
        last_moment(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_time() {
        for (year, month, day, seconds) in [
            (2027, 1, 1, 1_798_761_600),
            (2028, 2, 29, 1_835_395_200),
            (2049, 12, 31, 2_524_521_600),
            (2050, 1, 1, 2_524_608_000),
            (4096, 3, 1, 67_095_302_400),
        ] {
            let expected = UnixTime::from_seconds(seconds);
            assert_eq!(until(year, month, day), Some(expected), "{year}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end_and_harms_nobody() {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        for length in 0..certificate.len() {
            last_moment(&certificate[..length]);
        }
        for (at, octet) in [(1, 0xFF), (1, 0x80), (0, 0), (5, 0xFF)] {
            let mut broken = certificate.clone();
            broken[at] = octet;
            last_moment(&broken);
        }
        assert_eq!(
            last_moment(&[SEQUENCE, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
            None
        );
    }
}
