//! Moments, as a person writes them.

use std::time::SystemTime;

use crate::clock::{Seconds, UnixTime};

/// A moment: RFC 3339 with its offset, or a span before `now`.
pub(super) fn moment(value: &str, now: UnixTime) -> Result<UnixTime, &'static str> {
    const FORM: &str =
        "a time is RFC 3339, such as `2026-11-18T10:00:00Z`, or a span before now, such as `30d`";
    if let Ok(span) = humantime::parse_duration(value) {
        let seconds = u32::try_from(span.as_secs()).map_err(|_| FORM)?;
        return Ok(now.minus(Seconds(seconds)));
    }
    rfc_3339(value).ok_or(FORM)
}

/// RFC 3339, section 5.6, with `Z` or an offset; a day alone is its beginning in UTC.
fn rfc_3339(value: &str) -> Option<UnixTime> {
    let whole = if value.len() == "2026-11-18".len() {
        format!("{value}T00:00:00Z")
    } else {
        value.to_owned()
    };
    let (local, offset) = if let Some(local) = whole.strip_suffix(['Z', 'z']) {
        (local, 0)
    } else {
        let (local, offset) = whole.split_at_checked(whole.len().checked_sub(6)?)?;
        (local, offset_minutes(offset)?)
    };
    let utc = humantime::parse_rfc3339(&format!("{local}Z").to_ascii_uppercase()).ok()?;
    let millis = utc.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis();
    let millis = i64::try_from(millis).ok()?;
    Some(UnixTime::from_millis(millis - offset * 60_000))
}

/// `+01:00` in minutes.
fn offset_minutes(offset: &str) -> Option<i64> {
    let sign = match offset.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rfc_3339_in_any_zone_or_a_span_before_now() {
        let noon = UnixTime::from_seconds(1_795_003_200);
        let read = |text| moment(text, noon).ok().map(UnixTime::millis);
        let noon = noon.millis();
        assert_eq!(read("2026-11-18T12:00:00Z"), Some(noon));
        assert_eq!(read("2026-11-18T12:00:00.250z"), Some(noon + 250));
        assert_eq!(read("2026-11-18T13:30:00+01:30"), Some(noon));
        assert_eq!(read("2026-11-18T07:00:00-05:00"), Some(noon));
        assert_eq!(read("2026-11-18"), Some(noon - 12 * 3_600_000));
        assert_eq!(read("30d"), Some(noon - 30 * 86_400_000));
        assert_eq!(read("1h 30m"), Some(noon - 5_400_000));
        for wrong in [
            "",
            "yesterday",
            "18.11.2026",
            "2026-11-18T12:00:00",
            "2026-11-18T12:00:00+1:00",
            "2026-11-18T12:00:00+01:é",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
