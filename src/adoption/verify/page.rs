//! One page of rows or aggregates, held against their events.

use crate::{
    adoption::{
        AdoptionError, Inner, Unfoldable,
        compare::{Drift, Finding, unfoldable},
        look::{Look, NotYet},
        mapping::{Folding, Mapped, stream},
    },
    domain::{AggregateId, Row, Version, error_chain},
    store::{LoadedRow, ReadError, Recovered, RecoveryRequest},
};

/// Events of each aggregate in the first look-up; few have more.
const FIRST_PAGE: u32 = 32;

/// What came of a page.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) count: u64,
    pub(super) with_events: u64,
    pub(super) findings: Vec<Finding>,
}

/// Compares rows: all at once first, then each that looks different on its own.
pub(super) async fn compare_rows(
    inner: &Inner,
    mapped: &dyn Mapped,
    page: Vec<(String, LoadedRow)>,
) -> Result<Compared, AdoptionError> {
    let mut compared = Compared {
        count: page.len() as u64,
        ..Compared::default()
    };
    let (mut ids, mut rows) = (
        Vec::with_capacity(page.len()),
        Vec::with_capacity(page.len()),
    );
    for (key, loaded) in page {
        match AggregateId::parse(&key) {
            Ok(id) => {
                ids.push(id);
                rows.push(loaded.row);
            }
            Err(_) => compared.findings.push(Finding {
                key,
                version: Version::ZERO,
                drift: Drift::NotAdoptable {
                    problem: "its key cannot be an aggregate's".to_owned(),
                },
            }),
        }
    }
    let recovered = recover(inner, mapped, &ids).await?;
    for (place, id) in ids.into_iter().enumerate() {
        let recovered = recovered.get(place);
        let has_events = recovered.is_some_and(|recovered| !recovered.events.is_empty());
        compared.with_events += u64::from(has_events);
        if !recovered.is_some_and(|found| agrees(mapped, rows[place].as_ref(), found)) {
            compared.findings.extend(look(inner, mapped, id).await?);
        }
    }
    Ok(compared)
}

/// Compares those aggregates that have no row.
pub(super) async fn compare_log(
    inner: &Inner,
    mapped: &dyn Mapped,
    ids: Vec<AggregateId>,
) -> Result<Compared, AdoptionError> {
    let ids = rowless(inner, mapped, ids).await?;
    let recovered = recover(inner, mapped, &ids).await?;
    let mut compared = Compared {
        count: ids.len() as u64,
        ..Compared::default()
    };
    for (place, id) in ids.into_iter().enumerate() {
        let found = recovered.get(place);
        if !found.is_some_and(|found| agrees(mapped, None, found)) {
            compared.findings.extend(look(inner, mapped, id).await?);
        }
    }
    Ok(compared)
}

/// Those of them that have no row.
pub(super) async fn rowless(
    inner: &Inner,
    mapped: &dyn Mapped,
    ids: Vec<AggregateId>,
) -> Result<Vec<AggregateId>, AdoptionError> {
    let (aggregate_type, table) = (mapped.aggregate_type(), mapped.table());
    let loaded = inner.rows.load(aggregate_type, table, &ids).await?;
    let rowless = ids.into_iter().zip(loaded);
    let rowless = rowless.filter(|(_, loaded)| loaded.row.is_none());
    Ok(rowless.map(|(id, _)| id).collect())
}

/// The first events of each; nothing where one of them cannot be read, and which it is comes out
/// when each is looked at.
async fn recover(
    inner: &Inner,
    mapped: &dyn Mapped,
    ids: &[AggregateId],
) -> Result<Vec<Recovered>, AdoptionError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let requests = ids.iter().map(|id| RecoveryRequest {
        stream: stream(mapped, id.clone()),
        fingerprint: None,
        after: Version::ZERO,
    });
    match inner.store.recover(requests.collect(), FIRST_PAGE).await {
        Ok(recovered) => Ok(recovered),
        Err(ReadError::Corrupt { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a row agrees with its events. One with more of them than were read, or none, is looked
/// at on its own.
fn agrees(mapped: &dyn Mapped, row: Option<&Row>, recovered: &Recovered) -> bool {
    let is_part = recovered.is_cut || recovered.events.len() >= FIRST_PAGE as usize;
    if recovered.events.is_empty() || is_part {
        return false;
    }
    let mut folding = mapped.folding();
    let folded = fold(&mut *folding, recovered);
    folded.is_ok() && folding.row().as_ref() == row
}

fn fold(folding: &mut dyn Folding, recovered: &Recovered) -> Result<(), Unfoldable> {
    let mut events = recovered.events.iter();
    events.try_for_each(|event| folding.fold(event))
}

/// Looks at one on its own.
async fn look(
    inner: &Inner,
    mapped: &dyn Mapped,
    id: AggregateId,
) -> Result<Option<Finding>, AdoptionError> {
    let key = id.to_string();
    let finding = |version, drift| Finding {
        key: key.clone(),
        version,
        drift,
    };
    Ok(match Look::at(inner, mapped, id).await {
        Ok(Ok(look)) => look.drift().map(|drift| finding(look.version(), drift)),
        Ok(Err(not_yet)) => Some(finding(
            Version::ZERO,
            match not_yet {
                NotYet::Unsettled => Drift::Unsettled,
                NotYet::Unnumbered => Drift::Unnumbered,
            },
        )),
        Err(AdoptionError::Unfoldable(error)) => Some(finding(Version::ZERO, unfoldable(&error))),
        Err(AdoptionError::Read(error @ ReadError::Corrupt { .. })) => {
            let problem = error_chain(&error);
            Some(finding(Version::ZERO, Drift::Unfoldable { problem }))
        }
        // It was deleted meanwhile, without a trace.
        Err(AdoptionError::Nothing(_)) => None,
        Err(error) => return Err(error),
    })
}
