//! What reading and writing the formats costs.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use folkmoot_benches::instructions::delta;
use folkmoot_core::java::{Graph, Limits, ObjectOutput};
use folkmoot_core::session::DeltaRequest;
use folkmoot_core::wire::{
    ChannelData, Deframed, Member, MemberBlock, SendOptions, UniqueId, deframe,
};

fn member() -> Vec<u8> {
    let address: SocketAddr = ([127, 0, 0, 1], 4000).into();
    let mut block = Vec::new();
    let member = Member::new(address, UniqueId([7; 16]));
    member.write(&mut block).expect("a vector grows");
    block
}

fn frames(criterion: &mut Criterion) {
    let block = member();
    let message = vec![7; 512];
    let data = ChannelData {
        options: SendOptions::from_bits(9),
        timestamp_ms: 1_700_000_000_000,
        unique_id: &[9; 16],
        address: &block,
        message: &message,
    };
    let mut frame = Vec::new();
    data.write_frame(&mut frame).expect("a vector grows");

    let mut group = criterion.benchmark_group("frame of 512 bytes");
    group.throughput(Throughput::Elements(1));
    group.bench_function("write", |bencher| {
        let mut out = Vec::with_capacity(frame.len());
        bencher.iter(|| {
            out.clear();
            black_box(&data)
                .write_frame(&mut out)
                .expect("a vector grows");
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let Ok(Deframed::Frame { data, .. }) = deframe(black_box(&frame), 1 << 20) else {
                panic!("a whole frame");
            };
            ChannelData::decode(data).expect("a message").message.len()
        });
    });
    group.finish();
    criterion.bench_function("member block/read", |bencher| {
        bencher.iter(|| MemberBlock::read(black_box(&block)).expect("a member").port);
    });
}

fn sessions(criterion: &mut Criterion) {
    let limits = Limits::default();
    let request = delta().expect("names are short");
    let mut out = ObjectOutput::new();
    request.write(&mut out).expect("short names");
    let stream = out.finish();

    let mut group = criterion.benchmark_group("delta with 1 KiB");
    group.throughput(Throughput::Elements(1));
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            let mut out = ObjectOutput::new();
            black_box(&request).write(&mut out).expect("short names");
            out.finish()
        });
    });
    group.bench_function("read", |bencher| {
        bencher.iter(|| DeltaRequest::read(black_box(&stream), &limits).expect("a delta"));
    });
    group.finish();

    criterion.bench_function("object graph of a delta/parse and encode", |bencher| {
        bencher.iter(|| {
            let graph = Graph::parse(black_box(&stream), &limits).expect("a stream");
            graph.encode()
        });
    });
}

criterion_group!(benches, frames, sessions);
criterion_main!(benches);
