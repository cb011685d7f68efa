//! A histogram of whole numbers made of atomics. The library's own takes a lock and adds floats for every observation, and all
//! worker threads would meet at it on every call.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric, exemplar::Exemplar},
};

/// Unit of the observed numbers, and how they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Observed in microseconds, shown in seconds.
    Micros,
    /// Shown as observed.
    Count,
}

/// Upper bounds, inclusive: 10 µs to 100 s in steps of 1, 2, 5.
const DURATION_BOUNDS: [u64; 22] = [
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
];

const COUNT_BOUNDS: [u64; 13] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096];

#[derive(Debug, Clone)]
pub struct Histogram(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    scale: Scale,
    bounds: &'static [u64],
    /// One bucket per bound and one for everything above.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    pub fn of_durations() -> Self {
        Self::new(Scale::Micros, &DURATION_BOUNDS)
    }

    pub fn of_counts() -> Self {
        Self::new(Scale::Count, &COUNT_BOUNDS)
    }

    fn new(scale: Scale, bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { scale, bounds, buckets, sum: AtomicU64::new(0) }))
    }

    pub fn observe(&self, value: u64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum.fetch_add(value, Ordering::Relaxed);
    }

    fn shown(&self, value: u64) -> f64 {
        match self.0.scale {
            Scale::Micros => value as f64 / 1e6,
            Scale::Count => value as f64,
        }
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let bounds = self.0.bounds.iter().map(|bound| self.shown(*bound)).chain([f64::INFINITY]);
        let counts = self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        // The count is the sum of the buckets just read, so that a page is consistent while calls go on.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.shown(self.0.sum.load(Ordering::Relaxed));
        encoder.encode_histogram(sum, count, &buckets, None::<&HashMap<usize, Exemplar<NoLabelSet, f64>>>)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_nothing_is_lost_above_them() {
        let histogram = Histogram::of_counts();
        for value in [0, 1, 2, 3, 4_096, 4_097, 1_000_000] {
            histogram.observe(value);
        }
        let counts: Vec<u64> = histogram.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert!(DURATION_BOUNDS.is_sorted() && COUNT_BOUNDS.is_sorted());
    }
}
