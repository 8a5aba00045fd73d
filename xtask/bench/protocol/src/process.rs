//! Memory and writes of this process.

use std::fs;

/// What `/proc/self` says.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Resident memory, in KiB.
    pub resident_kib: u64,
    /// The peak of resident memory, in KiB.
    pub peak_kib: u64,
    /// Bytes that this process caused to be written to disk.
    pub written: u64,
}

impl Process {
    /// The present state; zeros if there is no `/proc`.
    #[must_use]
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
        Self {
            resident_kib: field(&status, "VmRSS:"),
            peak_kib: field(&status, "VmHWM:"),
            written: field(&io, "write_bytes:"),
        }
    }

    /// Like [`now`](Self::now), and resets the peak.
    #[must_use]
    pub fn idle() -> Self {
        // If this isn't allowed, the peak is too high, never too low.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Self::now()
    }
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
