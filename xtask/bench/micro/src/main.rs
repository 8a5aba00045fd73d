//! What costs nothing but the processor's time: requests in the session manager, and expiries as Julian days.

mod request;

use std::hint::black_box;

use chrono::Utc;
use criterion::{Criterion, criterion_group, criterion_main};

// The store keeps it to itself.
#[expect(clippy::pedantic, reason = "the store's own build lints it")]
#[path = "../../../../store-sqlite/src/julian.rs"]
mod julian;

fn days(criterion: &mut Criterion) {
    let now = Utc::now();
    criterion.bench_function("julian_day_of_expiry", |bencher| {
        bencher.iter(|| julian::from_expiry(black_box(now)));
    });
    let day = julian::from_now(now);
    criterion.bench_function("expiry_of_julian_day", |bencher| {
        bencher.iter(|| julian::to_instant(black_box(day)));
    });
}

criterion_group!(benches, request::requests, days);
criterion_main!(benches);
