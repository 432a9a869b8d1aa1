//! What idle and slow connections do to those that work.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::sleep,
};

use super::{
    Amount, Crowd, Failed, Work,
    load::{no_latencies, on_schedule},
    report::{median, milliseconds},
    servers::{Known, Served},
    wire::Wire,
};

/// A head that does not end, and one whose body takes its time.
const HEAD: &[u8] = b"GET /livez HTTP/1.1\r\nHost: bench\r\nX-Slow: ";
const BODY: &[u8] = b"POST /v1/aggregates/Role/slow/commands/create HTTP/1.1\r\nHost: bench\r\n\
    Content-Type: application/json\r\nContent-Length: 4096\r\n\r\n";

/// The figures of one work, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) work: Work,
    pub(crate) requests: u64,
    /// Without the crowd: p50 and p99 of all rounds' requests.
    pub(crate) alone: [f64; 2],
    /// The same beside it.
    pub(crate) beside: [f64; 2],
    /// The p99 beside the crowd by that without, of each round's requests: the median.
    pub(crate) median_of_rounds: f64,
    /// The connections that the server had while it was there, at the least.
    pub(crate) connections: u64,
}

impl Figures {
    /// The p99 beside the crowd by that without, of all rounds' requests.
    pub(crate) fn ratio(&self) -> f64 {
        self.beside[1] / self.alone[1]
    }
}

/// Measures every work, without the crowd and beside it in turns.
pub(crate) async fn measure(
    works: &[Work],
    amount: Amount,
    rate: usize,
    crowd: Crowd,
) -> Result<Vec<Figures>, Failed> {
    let served = Arc::new(Served::start(Known::Nobody).await?);
    let sent = Arc::new(AtomicUsize::new(0));
    let schedule = (rate, &sent);
    let mut figures = Vec::new();
    for work in works {
        let (mut alone, mut beside) = (no_latencies()?, no_latencies()?);
        let (mut ratios, mut connections) = (Vec::new(), u64::MAX);
        on_schedule(&served, *work, amount, schedule).await?;
        for _ in 0..amount.rounds {
            let without = on_schedule(&served, *work, amount, schedule).await?;
            let there = There::come(&served, crowd).await?;
            let with = on_schedule(&served, *work, amount, schedule).await?;
            connections = connections.min(there.connections(crowd).await?);
            there.leave().await?;
            ratios.push(p99(&with) / p99(&without));
            alone.add(without)?;
            beside.add(with)?;
        }
        let both = |latencies: &Histogram<u64>| {
            [0.5, 0.99].map(|quantile| milliseconds(latencies.value_at_quantile(quantile)))
        };
        figures.push(Figures {
            work: *work,
            requests: alone.len() + beside.len(),
            alone: both(&alone),
            beside: both(&beside),
            median_of_rounds: median(ratios),
            connections,
        });
    }
    Ok(figures)
}

fn p99(latencies: &Histogram<u64>) -> f64 {
    milliseconds(latencies.value_at_quantile(0.99))
}

/// A crowd that is there.
struct There {
    served: Arc<Served>,
    idle: Vec<Wire>,
    slow: JoinSet<()>,
}

impl There {
    async fn come(served: &Arc<Served>, crowd: Crowd) -> Result<Self, Failed> {
        let mut idle = Vec::new();
        for _ in 0..crowd.idle {
            // One that never asked anything is let go sooner.
            let mut wire = Wire::open(served.address).await?;
            wire.ask(&served.get("/livez")).await?;
            idle.push(wire);
        }
        let mut slow = JoinSet::new();
        for number in 0..crowd.slow {
            let beginning = if number % 2 == 0 { HEAD } else { BODY };
            // They do not send all at the same moment.
            let wait = Duration::from_millis(number as u64 * 7 % 1000);
            slow.spawn(drip(served.address, beginning, wait));
        }
        let there = Self {
            served: Arc::clone(served),
            idle,
            slow,
        };
        sleep(Duration::from_secs(2)).await;
        Ok(there)
    }

    /// How many connections the server has; too few are no crowd.
    async fn connections(&self, crowd: Crowd) -> Result<u64, Failed> {
        let open = open(&self.served).await?;
        // A slow one that was let go may be on its way back.
        let least = (crowd.idle + crowd.slow * 9 / 10) as u64;
        if open < least {
            return Err(format!("only {open} connections were there, not {least}").into());
        }
        Ok(open)
    }

    async fn leave(mut self) -> Result<(), Failed> {
        self.slow.shutdown().await;
        drop(self.idle);
        for _ in 0..100 {
            if open(&self.served).await? < 50 {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err("the crowd does not leave".into())
    }
}

async fn open(served: &Served) -> Result<u64, Failed> {
    let mut wire = Wire::open(served.address).await?;
    let page = std::str::from_utf8(wire.ask(&served.get("/metrics")).await?)?;
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("dormouse_http_connections "));
    Ok(line.ok_or("connections are not counted")?.parse()?)
}

/// Sends a byte each second, and comes again as soon as it is let go.
async fn drip(address: SocketAddr, beginning: &'static [u8], wait: Duration) {
    sleep(wait).await;
    loop {
        let Ok(stream) = TcpStream::connect(address).await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (mut reading, mut writing) = stream.into_split();
        let dripping = async {
            writing.write_all(beginning).await?;
            loop {
                sleep(Duration::from_secs(1)).await;
                writing.write_all(b" ").await?;
            }
        };
        let mut answer = Vec::new();
        tokio::select! {
            ended = dripping => { let _: std::io::Result<()> = ended; }
            _ = reading.read_to_end(&mut answer) => {}
        }
    }
}
