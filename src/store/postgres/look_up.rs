//! What a commit looks up when it was decided with what is outdated.

use tokio_postgres::Client;

use super::batch::Change;
use super::fault::Fault;
use super::names::Versions;

/// What is remembered of names.
pub(super) async fn names(client: &Client, ids: &[[u8; 32]]) -> Result<Versions, Fault> {
    let asked: Vec<&[u8]> = ids.iter().map(<[u8; 32]>::as_slice).collect();
    let found = client
        .query(
            "SELECT id, version, state FROM countersign.names WHERE id = ANY ($1)",
            &[&asked],
        )
        .await?;
    let mut versions = Versions::new();
    for row in found {
        let id: &[u8] = row.try_get(0)?;
        if let Ok(id) = id.try_into() {
            versions.insert(id, (row.try_get(1)?, row.try_get(2)?));
        }
    }
    Ok(versions)
}

/// The number of the first entry of a change that was committed, which is at `from` or behind it.
pub(super) async fn entry(
    client: &Client,
    change: &Change,
    from: u64,
) -> Result<Option<u64>, Fault> {
    let Some(first) = change.entries.first() else {
        return Ok(None);
    };
    let from = from.cast_signed();
    let found = client
        .query_opt(
            "SELECT b.first + (position($1 IN b.hashes) - 1) / 32
             FROM countersign.log_batches b
             WHERE b.first >= coalesce((SELECT max(c.first) FROM countersign.log_batches c WHERE c.first <= $2), 0)
                 AND position($1 IN b.hashes) % 32 = 1
             ORDER BY b.first LIMIT 1",
            &[&first.leaf_hash.as_slice(), &from],
        )
        .await?;
    let Some(row) = found else { return Ok(None) };
    let number: i64 = row.try_get(0)?;
    Ok(Some(number.cast_unsigned()))
}
