//! What a question to a supervised actor costs over a plain call, on one thread and across two.

use std::{hint::black_box, time::Duration};

use criterion::Criterion;
use pixgate::{
    actors::supervision::{ActorTree, Ctx, Fault, Handle, Message, Receive, Reply, Service, Spec, spawn},
    clock::Clock,
};

const DEADLINE: Duration = Duration::from_secs(10);

struct Adder(u64);

impl Service for Adder {
    const KIND: &'static str = "adder";
}

struct Add(u64);

impl Message for Add {
    type Reply = u64;
}

impl Receive<Add> for Adder {
    fn receive(&mut self, Add(by): Add, reply: Reply<u64>, _: &mut Ctx<Self>) -> Result<(), Fault> {
        self.0 = self.0.wrapping_add(by);
        let _ = reply.send(self.0);
        Ok(())
    }
}

fn adder() -> Handle<Adder> {
    spawn(&ActorTree::new(Clock::system()), Spec::new("adder", 1_024, || Adder(0)))
}

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ask");
    group.bench_function("plain call", |bencher| {
        let mut adder = Adder(0);
        bencher.iter(|| {
            adder.0 = adder.0.wrapping_add(black_box(1));
            adder.0
        });
    });
    let system = actix::System::new();
    group.bench_function("same thread", |bencher| {
        let handle = system.block_on(async { adder() });
        bencher.iter_custom(|rounds| {
            system.block_on(async {
                let started = std::time::Instant::now();
                for _ in 0..rounds {
                    black_box(handle.ask(Add(1), DEADLINE).await.unwrap());
                }
                started.elapsed()
            })
        });
    });
    group.bench_function("another thread, one at a time", |bencher| {
        let arbiter = system.block_on(async { actix::Arbiter::new() });
        let (sender, receiver) = std::sync::mpsc::channel();
        arbiter.spawn_fn(move || sender.send(adder()).unwrap());
        let handle = receiver.recv().unwrap();
        bencher.iter_custom(|rounds| {
            system.block_on(async {
                let started = std::time::Instant::now();
                for _ in 0..rounds {
                    black_box(handle.ask(Add(1), DEADLINE).await.unwrap());
                }
                started.elapsed()
            })
        });
        arbiter.stop();
    });
    group.finish();
}
