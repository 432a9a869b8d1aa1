//! A rebuild on request: a new generation is begun, and whoever runs the projection builds it.

use crate::store::{EventStore, models::ModelError};

/// A generation that is being built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuild {
    /// Its number.
    pub generation: i64,
    /// Whether it was being built already when this was asked for.
    pub already_begun: bool,
}

/// Why a read model is not rebuilt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// This program has no such projection.
    #[error("there is no projection `{name}`; known are: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The store has no place for read models.
    #[error("the store has no read models")]
    NoReadModels,
    /// The database did not do it.
    #[error("the rebuild was not begun")]
    Model(#[from] ModelError),
}

/// Begins a new generation of a read model. It is built, from position 0 and beside the one in use,
/// by whichever process runs the projection, and takes its place once it is complete. Where one is
/// being built already, that is the one. `versions` are the projections that the program has.
///
/// # Errors
/// [`RebuildError`].
pub async fn rebuild(
    store: &dyn EventStore,
    name: &str,
    versions: &[(&'static str, u32)],
) -> Result<Rebuild, RebuildError> {
    let of_name = versions.iter().filter(|(known, _)| *known == name);
    let Some(version) = of_name.map(|(_, version)| *version).max() else {
        let mut known: Vec<&str> = versions.iter().map(|(name, _)| *name).collect();
        known.dedup();
        return Err(RebuildError::Unknown {
            name: name.to_owned(),
            known: known.join(", "),
        });
    };
    let models = store.read_models().ok_or(RebuildError::NoReadModels)?;
    let mut transaction = models.begin().await?;
    let mut tx = transaction.tx();
    tx.lock_projection(name).await?;
    let generations = tx.generations(Some(name)).await?;
    let being_built = generations
        .iter()
        .find(|one| !one.serving && !one.retired && one.version == version);
    if let Some(being_built) = being_built {
        let generation = being_built.number;
        transaction.rollback().await;
        return Ok(Rebuild {
            generation,
            already_begun: true,
        });
    }
    let generation = tx.begin_generation(name, version).await?;
    transaction.commit().await?;
    Ok(Rebuild {
        generation,
        already_begun: false,
    })
}
