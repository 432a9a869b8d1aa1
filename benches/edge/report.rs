//! What is printed: a JSON object a line for programs, tables for people.

use std::io::{self, Write as _};

use super::{Crowd, Failed, auth, crowd, servers::Known};

/// What is promised of authentication, and of a crowd.
const AUTH_COSTS: f64 = 0.1;
const CROWD_RATIO: f64 = 1.5;

pub(crate) fn auth(figures: &[auth::Figures], json: bool) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    if json {
        return lines(&mut out, figures);
    }
    writeln!(
        out,
        "{:<8} {:<9} {:>11} {:>15} {:>17}",
        "work", "known by", "requests/s", "CPU µs/request", "of none (rounds)"
    )?;
    for one in figures {
        let [median, least, most] = one.of_none.map(|ratio| ratio * 100.0);
        writeln!(
            out,
            "{:<8} {:<9} {:>11.0} {:>15.1} {median:>6.1} % ({least:.1} to {most:.1})",
            one.work.name(),
            one.known.name(),
            one.requests_per_s,
            one.cpu_us_per_request,
        )?;
    }
    let known = figures.iter().filter(|one| one.known != Known::Nobody);
    let least = known
        .map(|one| one.of_none[0])
        .fold(f64::INFINITY, f64::min);
    let kept = kept(1.0 - least <= AUTH_COSTS);
    let (costs, most) = ((1.0 - least) * 100.0, AUTH_COSTS * 100.0);
    writeln!(
        out,
        "authentication costs {costs:.1} % at most; promised are {most:.0} %: {kept}\n"
    )?;
    Ok(())
}

pub(crate) fn crowd(figures: &[crowd::Figures], of: Crowd, json: bool) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    if json {
        return lines(&mut out, figures);
    }
    let Crowd { idle, slow } = of;
    writeln!(
        out,
        "beside {idle} idle and {slow} slow connections, in milliseconds:"
    )?;
    writeln!(
        out,
        "{:<8} {:>9} {:>11} {:>11} {:>12} {:>12} {:>7} {:>11}",
        "work",
        "requests",
        "p50 alone",
        "p99 alone",
        "p50 beside",
        "p99 beside",
        "ratio",
        "of rounds"
    )?;
    for one in figures {
        writeln!(
            out,
            "{:<8} {:>9} {:>11.3} {:>11.3} {:>12.3} {:>12.3} {:>7.2} {:>11.2}",
            one.work.name(),
            one.requests,
            one.alone[0],
            one.alone[1],
            one.beside[0],
            one.beside[1],
            one.ratio(),
            one.median_of_rounds,
        )?;
    }
    let worst = figures
        .iter()
        .map(crowd::Figures::ratio)
        .fold(0.0, f64::max);
    let kept = kept(worst <= CROWD_RATIO);
    writeln!(
        out,
        "the p99 beside the crowd is {worst:.2} times that without; promised are {CROWD_RATIO}: {kept}"
    )?;
    Ok(())
}

fn lines<T: serde::Serialize>(out: &mut impl io::Write, figures: &[T]) -> Result<(), Failed> {
    for one in figures {
        writeln!(out, "{}", serde_json::to_string(one)?)?;
    }
    Ok(())
}

const fn kept(is_kept: bool) -> &'static str {
    if is_kept { "kept" } else { "not kept" }
}

pub(crate) fn median(of: impl IntoIterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = of.into_iter().collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn milliseconds(micros: u64) -> f64 {
    real(micros) / 1000.0
}

/// What is counted here fits 32 bits.
pub(crate) fn real(number: u64) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
