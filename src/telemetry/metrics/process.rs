//! Memory and CPU of this process, read from `/proc/self` at a scrape. Where there is no `/proc`, the figures are left out.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Ticks a second in `/proc/self/stat`: 100 in the ABI of Linux on every architecture we build for.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        if let Some(kibibytes) = status_field(&status, "VmRSS:") {
            let memory = ConstGauge::new(kibibytes.saturating_mul(1024));
            let name = "process_resident_memory_bytes";
            memory.encode(encoder.encode_descriptor(name, "Resident memory.", None, memory.metric_type())?)?;
        }
        if let Some(threads) = status_field(&status, "Threads:") {
            let threads = ConstGauge::new(threads);
            threads.encode(encoder.encode_descriptor("process_threads", "Threads.", None, threads.metric_type())?)?;
        }
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        if let Some(ticks) = cpu_ticks(&stat) {
            let cpu = ConstCounter::new(ticks as f64 / TICKS_PER_SECOND);
            let help = "User and system CPU time.";
            cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?)?;
        }
        Ok(())
    }
}

/// The first number of the line that begins with `name`.
fn status_field(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `utime` + `stime`, the 14th and 15th field. The second one, the program's name, may itself hold spaces and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_of_proc() {
        assert_eq!(status_field("Name:\tpixgate\nVmRSS:\t   1234 kB\nThreads:\t3\n", "VmRSS:"), Some(1234));
        assert_eq!(status_field("Name:\tpixgate\n", "VmRSS:"), None);
        assert_eq!(cpu_ticks("7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 3 0 1 2 3"), Some(300));
        assert_eq!(cpu_ticks(""), None);
    }
}
