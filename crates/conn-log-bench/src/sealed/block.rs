//! Events into a row of the table, and out of it.

use super::codec::{Codec, Item, Wanted, root};
use super::table::BlockRow;

/// Bytes of a removed event: its id and its leaf hash.
const REMOVED_BYTES: usize = 8 + 32;

/// The row of sealed events.
pub(super) fn row(items: &[Item], leaves: &[[u8; 32]], body: Vec<u8>) -> BlockRow {
    BlockRow {
        first_id: items.first().map_or(0, |item| item.record.id),
        last_id: items.last().map_or(0, |item| item.record.id),
        root: root(leaves).to_vec(),
        removed: None,
        body,
    }
}

/// The leaf hashes of a block, computed from the bodies that it has and kept of the others.
pub(super) fn leaves(row: &BlockRow, items: &[Item]) -> Vec<(i64, [u8; 32])> {
    let mut leaves: Vec<(i64, [u8; 32])> =
        items.iter().map(|item| (item.record.id, item.leaf_hash())).collect();
    for one in row.removed.iter().flat_map(|removed| removed.chunks_exact(REMOVED_BYTES)) {
        if let Some((id, hash)) = one.split_first_chunk()
            && let Ok(hash) = hash.try_into()
        {
            leaves.push((i64::from_le_bytes(*id), hash));
        }
    }
    leaves.sort_unstable_by_key(|(id, _)| *id);
    leaves
}

/// Whether the leaf hashes of these events have the block's root.
pub(super) fn is_whole(row: &BlockRow, items: &[Item]) -> bool {
    let leaves: Vec<[u8; 32]> = leaves(row, items).into_iter().map(|(_, leaf)| leaf).collect();
    row.root == root(&leaves)
}

/// All events that a block still has.
pub(super) fn open(codec: &mut dyn Codec, row: &BlockRow) -> anyhow::Result<Vec<Item>> {
    if row.body.is_empty() { Ok(Vec::new()) } else { codec.open(&row.body, Wanted::All) }
}

/// The block without the bodies of some ids, which ascend. Their leaf hashes stay, and with them the root.
pub(super) fn without(
    codec: &mut dyn Codec,
    row: &BlockRow,
    ids: &[i64],
) -> anyhow::Result<BlockRow> {
    if row.body.is_empty() {
        return Ok(row.clone());
    }
    let (gone, body) = codec.remove(&row.body, ids)?;
    let mut removed = row.removed.clone().unwrap_or_default();
    for item in &gone {
        removed.extend(item.record.id.to_le_bytes());
        removed.extend(item.leaf_hash());
    }
    Ok(BlockRow { removed: Some(removed), body, ..row.clone() })
}
