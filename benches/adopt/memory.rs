//! How much memory the process held, where the system tells (Linux).

use std::fs;

/// From here on the peak is measured anew; false where the system does not let it.
pub(crate) fn forget_peak() -> bool {
    // Documented in proc(5): 5 resets the peak resident set size.
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The most memory the process held, in MiB.
pub(crate) fn peak_mib() -> Option<u64> {
    peak_mib_of("self")
}

/// As [`peak_mib`], of another process.
pub(crate) fn peak_mib_of(pid: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
