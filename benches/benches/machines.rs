//! What the machines cost a message: two channels, and two clusters, joined by memory.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use folkmoot_benches::machines::{BATCH, Channels, Clusters};

fn channel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("channel, 512 bytes");
    group.throughput(Throughput::Elements(BATCH as u64));
    for options in [8, 6] {
        let mut channels = Channels::new().expect("two members");
        group.bench_function(format!("options {options}"), |bencher| {
            bencher.iter(|| channels.batch(options, &[7; 512]).expect("room"));
        });
    }
    group.finish();
}

fn cluster(criterion: &mut Criterion) {
    let mut clusters = Clusters::new().expect("two members");
    let mut group = criterion.benchmark_group("session");
    group.throughput(Throughput::Elements(1));
    group.bench_function("delta of 1 KiB, set to applied", |bencher| {
        bencher.iter(|| clusters.change().expect("the session is there"));
    });
    group.finish();
    assert!(clusters.agree());
}

criterion_group!(benches, channel, cluster);
criterion_main!(benches);
