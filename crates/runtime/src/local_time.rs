//! How far local time is from UTC.

/// Seconds to add to UTC for local time, as it is (or was, or will be) at `unix` seconds since 1970.
///
/// Follows `TZ` or `/etc/localtime`. The C library reads the zone at the first call and keeps it, so a process that
/// changes its root directory has to call this once before it does.
pub fn utc_offset_seconds(unix: i64) -> i32 {
    let time: libc::time_t = unix;
    // SAFETY: `tm` is plain data for which all zeroes is a valid value.
    let mut broken_down: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the types that localtime_r names; it keeps neither.
    let result = unsafe { libc::localtime_r(&raw const time, &raw mut broken_down) };
    // It fails only for years that do not fit the structure; UTC then.
    if result.is_null() { 0 } else { i32::try_from(broken_down.tm_gmtoff).unwrap_or(0) }
}
