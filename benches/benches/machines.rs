//! What the machines cost a message: two channels, and two clusters with each kind of manager and a map, joined by memory.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use folkmoot_benches::machines::{Attributes, BATCH, Channels, Clusters};

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
    let managers = [
        ("session", Clusters::new()),
        ("session, BackupManager", Clusters::with_backup_managers()),
    ];
    for (name, clusters) in managers {
        let mut clusters = clusters.expect("two members");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        group.bench_function("delta of 1 KiB, set to applied", |bencher| {
            bencher.iter(|| clusters.change().expect("the session is there"));
        });
        group.finish();
        assert!(clusters.agree(), "{name}");
    }
}

fn map(criterion: &mut Criterion) {
    /// Names that are used in turn.
    const KEYS: u64 = 100;
    let mut attributes = Attributes::new().expect("two members");
    let mut group = criterion.benchmark_group("replicated map");
    group.throughput(Throughput::Elements(1));
    group.bench_function("attribute of 1 KiB, put to applied", |bencher| {
        bencher.iter(|| attributes.put(KEYS));
    });
    group.finish();
    assert!(attributes.agree(KEYS));
}

criterion_group!(benches, channel, cluster, map);
criterion_main!(benches);
