//! The load itself: closed loop (each connection asks again once it has its answer), open loop (asks at a fixed rate,
//! whatever the answers do), and a fixed amount of work. One thread drives all connections.

use std::{
    cell::{Cell, RefCell},
    io,
    net::SocketAddr,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{
    sync::{Mutex, mpsc},
    task::{JoinHandle, spawn_local},
    time::sleep,
};

use crate::{Fallible, client::Connection, http1::bad, mock::EVENT_TEXT};

/// After so many a run is hopeless, and the rest would only fill the log.
const ERRORS_MAX: u64 = 200;
/// No answer of a bench takes longer.
const LATENCY_US_MAX: u64 = 120_000_000;

/// What is asked, and what a good answer is.
pub struct Load {
    pub address: SocketAddr,
    /// One for each asking account; connections take turns.
    pub requests: Vec<Vec<u8>>,
    /// Content events of a complete stream; `None` for an answer in one piece.
    pub events: Option<u64>,
}

impl Load {
    /// Whether the answer is whole: a stream counts only with all its events and its end.
    fn check(&self, status: u16, body: &[u8]) -> io::Result<()> {
        if status != 200 {
            return Err(io::Error::other(format!("answered {status}: {}", String::from_utf8_lossy(body))));
        }
        match self.events {
            None if body.starts_with(b"{") => Ok(()),
            None => Err(bad("not a JSON object")),
            Some(events) => {
                let text = std::str::from_utf8(body).map_err(|_| bad("not UTF-8"))?;
                let found = text.matches(EVENT_TEXT).count();
                let complete = usize::try_from(events) == Ok(found) && text.trim_end().ends_with("data: [DONE]");
                if complete { Ok(()) } else { Err(io::Error::other(format!("a stream of {found} events instead of {events}"))) }
            }
        }
    }
}

/// What one run has seen.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub connections: usize,
    /// Of the measured part, as are all figures but `answered`.
    pub seconds: f64,
    pub requests: u64,
    pub latency_us: Histogram<u64>,
    /// CPU of the measured process, in microseconds.
    pub cpu_us: u64,
    pub errors: u64,
    pub first_error: Option<String>,
    /// Complete answers by request (see [`Load::requests`]), warm-up included: what must have been charged.
    pub answered: Vec<u64>,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// NaN when nothing was answered.
    pub fn cpu_us_per_request(&self) -> f64 {
        self.cpu_us as f64 / self.requests as f64
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub warm_up: Duration,
    pub measured: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measured,
    Over,
}

/// Where the connections of a run write down what they see.
struct Board {
    phase: Cell<Phase>,
    requests: Cell<u64>,
    latency_us: RefCell<Histogram<u64>>,
    errors: Cell<u64>,
    first_error: RefCell<Option<String>>,
    answered: RefCell<Vec<u64>>,
}

impl Board {
    fn new(load: &Load, phase: Phase) -> Fallible<Rc<Self>> {
        Ok(Rc::new(Self {
            phase: Cell::new(phase),
            requests: Cell::new(0),
            latency_us: RefCell::new(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?),
            errors: Cell::new(0),
            first_error: RefCell::new(None),
            answered: RefCell::new(vec![0; load.requests.len()]),
        }))
    }

    fn note(&self, request: usize, since: Instant, answer: io::Result<()>) {
        if let Err(error) = answer {
            self.errors.set(self.errors.get() + 1);
            self.first_error.borrow_mut().get_or_insert_with(|| error.to_string());
            return;
        }
        self.answered.borrow_mut()[request] += 1;
        if self.phase.get() == Phase::Measured {
            self.requests.set(self.requests.get() + 1);
            let micros = u64::try_from(since.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
            self.latency_us.borrow_mut().saturating_record(micros.max(1));
        }
    }

    fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over || self.errors.get() >= ERRORS_MAX
    }

    fn outcome(&self, connections: usize, seconds: f64, cpu_us: u64) -> Outcome {
        Outcome {
            connections,
            seconds,
            requests: self.requests.get(),
            latency_us: self.latency_us.borrow().clone(),
            cpu_us,
            errors: self.errors.get(),
            first_error: self.first_error.borrow().clone(),
            answered: self.answered.borrow().clone(),
        }
    }
}

/// One connection, opened when first needed and again after an error.
struct Asker {
    load: Rc<Load>,
    board: Rc<Board>,
    request: usize,
    connection: Option<Connection>,
}

impl Asker {
    fn new(load: &Rc<Load>, board: &Rc<Board>, number: usize) -> Self {
        Self { load: Rc::clone(load), board: Rc::clone(board), request: number % load.requests.len(), connection: None }
    }

    /// For loops that measure asking, not connecting. A failure shows again, and is counted, at the first request.
    async fn connected(load: &Rc<Load>, board: &Rc<Board>, connections: usize) -> Vec<Self> {
        let mut askers = Vec::with_capacity(connections);
        for number in 0..connections {
            let connection = Connection::open(load.address).await.ok();
            askers.push(Self { connection, ..Self::new(load, board, number) });
        }
        askers
    }

    async fn ask(&mut self, since: Instant) {
        let answer = self.exchange().await;
        if answer.is_err() {
            self.connection = None;
        }
        self.board.note(self.request, since, answer);
    }

    async fn exchange(&mut self) -> io::Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.load.address).await?),
        };
        let status = connection.exchange(&self.load.requests[self.request]).await?;
        self.load.check(status, &connection.body)
    }
}

/// Every connection asks again as soon as it has its answer. `cpu_us` reads the CPU time of the measured process.
pub async fn closed_loop(load: Load, connections: usize, timing: Timing, cpu_us: impl Fn() -> Fallible<u64>) -> Fallible<Outcome> {
    let load = Rc::new(load);
    let board = Board::new(&load, Phase::WarmUp)?;
    let askers = Asker::connected(&load, &board, connections).await;
    let tasks = askers
        .into_iter()
        .map(|mut asker| {
            spawn_local(async move {
                while !asker.board.is_over() {
                    asker.ask(Instant::now()).await;
                }
            })
        })
        .collect();
    measure(&board, connections, timing, tasks, cpu_us).await
}

/// Asks `per_second` times a second over at most `connections`; latency counts from the moment at which a request was due, so a
/// server that stalls cannot hide the requests that it kept waiting.
pub async fn open_loop(
    load: Load,
    connections: usize,
    per_second: f64,
    timing: Timing,
    cpu_us: impl Fn() -> Fallible<u64>,
) -> Fallible<Outcome> {
    let load = Rc::new(load);
    let board = Board::new(&load, Phase::WarmUp)?;
    let askers = Asker::connected(&load, &board, connections).await;
    let (sender, due_times) = mpsc::unbounded_channel();
    let due_times = Rc::new(Mutex::new(due_times));
    let whole = timing.warm_up + timing.measured;
    // A thread of its own, because the runtime's timer counts in milliseconds.
    let pacer = thread::spawn(move || {
        let start = Instant::now();
        for number in 0u64.. {
            let offset = Duration::from_secs_f64(number as f64 / per_second);
            if offset >= whole || sender.send(start + offset).is_err() {
                return;
            }
            let next = start + Duration::from_secs_f64((number + 1) as f64 / per_second);
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    let tasks = askers
        .into_iter()
        .map(|mut asker| {
            let due_times = Rc::clone(&due_times);
            spawn_local(async move {
                loop {
                    let due = due_times.lock().await.recv().await;
                    let Some(due) = due.filter(|_| asker.board.errors.get() < ERRORS_MAX) else { return };
                    asker.ask(due).await;
                }
            })
        })
        .collect();
    let outcome = measure(&board, connections, timing, tasks, cpu_us).await;
    pacer.join().map_err(|_| "the pacing thread has panicked")?;
    outcome
}

async fn measure(
    board: &Board,
    connections: usize,
    timing: Timing,
    tasks: Vec<JoinHandle<()>>,
    cpu_us: impl Fn() -> Fallible<u64>,
) -> Fallible<Outcome> {
    sleep(timing.warm_up).await;
    let (before, start) = (cpu_us()?, Instant::now());
    board.phase.set(Phase::Measured);
    sleep(timing.measured).await;
    board.phase.set(Phase::Over);
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_us()? - before);
    for task in tasks {
        task.await?;
    }
    Ok(board.outcome(connections, seconds, cpu))
}

/// Each connection asks `repeats` times; they start one after the other within `spread`. All of it is measured.
pub async fn fixed_work(
    load: Load,
    connections: usize,
    repeats: u64,
    spread: Duration,
    cpu_us: impl Fn() -> Fallible<u64>,
) -> Fallible<Outcome> {
    let load = Rc::new(load);
    let board = Board::new(&load, Phase::Measured)?;
    let (before, start) = (cpu_us()?, Instant::now());
    let tasks: Vec<_> = (0..connections)
        .map(|number| {
            let mut asker = Asker::new(&load, &board, number);
            let delay = spread.mul_f64(number as f64 / connections as f64);
            spawn_local(async move {
                sleep(delay).await;
                for _ in 0..repeats {
                    asker.ask(Instant::now()).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    Ok(board.outcome(connections, start.elapsed().as_secs_f64(), cpu_us()? - before))
}
