use std::fs::{self, File};
use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::frame::{Frame, FrameError, HEADER_BYTES};
use super::*;

type Seen = Arc<Mutex<Vec<u64>>>;

fn options(folder: &Path) -> WalOptions {
    WalOptions {
        folder: folder.to_owned(),
        durability: Durability::Fsync,
        compression: Compression::None,
        segment_bytes_max: SEGMENT_BYTES_MAX,
        disk: Disk::default(),
    }
}

fn start(options: WalOptions, next_sequence: u64) -> (Wal, Seen) {
    let seen = Seen::default();
    let delivered = Arc::clone(&seen);
    let recovered = Recovered { next_sequence, ..Recovered::default() };
    let wal = Wal::start(options, recovered, move |deliveries| {
        delivered.lock().unwrap().extend(deliveries.iter().map(|delivery| delivery.sequence));
    });
    (wal.unwrap(), seen)
}

fn record(payload: impl Into<Bytes>) -> LogRecord {
    LogRecord { kind: 7, received: UnixNanos(42), payload: payload.into() }
}

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// The payload of a record of these tests: no two have the same length.
fn payload_of(number: u64) -> Vec<u8> {
    noise(number, 40 + usize::try_from(number).unwrap())
}

async fn write_records(options: WalOptions, count: u64) {
    let (wal, _seen) = start(options, 1);
    for number in 1..=count {
        let payload = payload_of(number);
        assert_eq!(wal.append(record(payload), Vec::new()).await.unwrap(), number);
    }
    wal.close().await.unwrap();
}

fn recover_all(folder: &Path, repair: bool) -> Result<(Vec<u64>, Recovered), StoreError> {
    let mut sequences = Vec::new();
    let recovered = recover(folder, repair, |frame| {
        let payload = frame.record().unwrap().payload;
        assert_eq!(payload, payload_of(frame.sequence));
        sequences.push(frame.sequence);
        Ok(())
    })?;
    Ok((sequences, recovered))
}

fn only_segment(folder: &Path) -> PathBuf {
    let segments = segment::list(folder).unwrap();
    assert_eq!(segments.len(), 1);
    segments[0].path.clone()
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

proptest! {
    #[test]
    fn frames_read_back_as_they_were_written(
        sequence: u64,
        unsynced_before: u32,
        kind: u8,
        received: i64,
        payload in proptest::collection::vec(any::<u8>(), 0..2_000),
        behind in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let payload = Bytes::from(payload);
        let stored = StoredPayload::compressed(payload.clone());
        let frame =
            Frame { sequence, unsynced_before, kind, received: UnixNanos(received), payload: stored };
        let mut bytes = frame.encoded();
        prop_assert_eq!(bytes.len(), frame.stored_bytes());
        bytes.extend(behind);
        let read = Frame::decode(&bytes.into()).unwrap();
        prop_assert_eq!(&read, &frame);
        prop_assert_eq!(read.record().unwrap().payload, payload);
    }

    #[test]
    fn a_changed_bit_never_passes_for_a_frame(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        at: proptest::sample::Index,
        bit in 0_u32..8,
    ) {
        let payload = StoredPayload::compressed(payload.into());
        let frame = Frame { sequence: 3, unsynced_before: 1, kind: 1, received: UnixNanos(5), payload };
        let mut bytes = frame.encoded();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(Frame::decode(&bytes.into()).is_err());
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let result = Frame::decode(&bytes.into());
        prop_assert!(result.is_err(), "random bytes carry no checksum");
    }
}

#[test]
fn compressed_payloads_shrink_and_a_lying_size_is_an_error() {
    let payload = Bytes::from(vec![b'x'; 100_000]);
    let stored = StoredPayload::compressed(payload.clone());
    assert!(stored.is_zstd && stored.bytes.len() < 1_000);
    assert_eq!(stored.unpack().unwrap(), payload);
    let garbage = StoredPayload { bytes: Bytes::from_static(b"not zstd"), is_zstd: true };
    assert!(garbage.unpack().is_err());
    assert_eq!(Frame::decode(&Bytes::from_static(b"UPW")).unwrap_err(), FrameError::Truncated);
    assert_eq!(Frame::decode(&Bytes::from(vec![0; 64])).unwrap_err(), FrameError::NoFrame);
}

#[tokio::test]
async fn appended_records_come_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    write_records(options(folder.path()), 20).await;
    let (sequences, recovered) = recover_all(folder.path(), false).unwrap();
    assert_eq!(sequences, (1..=20).collect::<Vec<_>>());
    assert_eq!(recovered.next_sequence, 21);
    assert!(!recovered.was_repaired);
}

#[tokio::test]
async fn a_tail_cut_at_any_byte_loses_only_the_records_it_hits() {
    let folder = tempfile::tempdir().unwrap();
    write_records(options(folder.path()), 5).await;
    let path = only_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    let frame_bytes = |number: usize| HEADER_BYTES + 40 + number;
    let last_two = frame_bytes(4) + frame_bytes(5);
    for length in whole.len() - last_two..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let kept = if length < whole.len() - frame_bytes(5) { 3 } else { 4 };
        let (sequences, recovered) = recover_all(folder.path(), false).unwrap();
        assert_eq!(sequences, (1..=kept).collect::<Vec<_>>(), "cut to {length} bytes");
        assert_eq!(recovered.next_sequence, kept + 1);
        let good: usize = (1..=usize::try_from(kept).unwrap()).map(frame_bytes).sum();
        assert_eq!(fs::read(&path).unwrap(), whole[..good], "the tail is gone");
    }
}

#[tokio::test]
async fn a_log_of_one_cut_record_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    write_records(options(folder.path()), 1).await;
    let path = only_segment(folder.path());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let (sequences, recovered) = recover_all(folder.path(), false).unwrap();
    assert_eq!((sequences.len(), recovered.next_sequence), (0, 0));
    assert!(!path.exists());
}

#[tokio::test]
async fn zeros_behind_the_last_record_are_cut() {
    let folder = tempfile::tempdir().unwrap();
    write_records(options(folder.path()), 3).await;
    let path = only_segment(folder.path());
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend([0; 5_000]);
    fs::write(&path, bytes).unwrap();
    assert_eq!(recover_all(folder.path(), false).unwrap().0, [1, 2, 3]);
}

#[tokio::test]
async fn damage_in_a_middle_segment_is_refused_and_repair_goes_on_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    write_records(WalOptions { segment_bytes_max: 300, ..options(folder.path()) }, 12).await;
    let segments = segment::list(folder.path()).unwrap();
    assert!(segments.len() >= 3, "{segments:?}");
    let (damaged, next) = (&segments[1], &segments[2]);
    assert!(next.first_sequence - damaged.first_sequence >= 2);
    flip(&damaged.path, HEADER_BYTES + 3);

    let error = recover_all(folder.path(), false).unwrap_err();
    assert!(matches!(&error, StoreError::LogDamaged { offset: 0, .. }), "{error}");
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("start with log repair"), "{error}");
    assert!(read_only(folder.path(), false, |_| Ok(())).is_err());

    let (sequences, recovered) = recover_all(folder.path(), true).unwrap();
    let lost = damaged.first_sequence;
    assert_eq!(sequences, (1..=12).filter(|number| *number != lost).collect::<Vec<_>>());
    assert!(recovered.was_repaired);
    assert!(damaged.path.with_extension("damaged").exists(), "a copy is kept");
}

#[tokio::test]
async fn a_synced_record_in_the_last_segment_is_no_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    write_records(options(folder.path()), 4).await;
    flip(&only_segment(folder.path()), HEADER_BYTES + 1);
    let error = recover_all(folder.path(), false).unwrap_err();
    assert!(matches!(error, StoreError::LogDamaged { offset: 0, .. }), "{error}");
    assert_eq!(recover_all(folder.path(), true).unwrap().0, [2, 3, 4]);
}

#[tokio::test]
async fn unsynced_records_behind_damage_are_a_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    write_records(WalOptions { durability: Durability::None, ..options(folder.path()) }, 4).await;
    flip(&only_segment(folder.path()), HEADER_BYTES + 1);
    assert_eq!(recover_all(folder.path(), false).unwrap().0, [] as [u64; 0]);
}

#[tokio::test]
async fn a_lost_segment_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_records(WalOptions { segment_bytes_max: 300, ..options(folder.path()) }, 12).await;
    let segments = segment::list(folder.path()).unwrap();
    fs::remove_file(&segments[1].path).unwrap();
    let error = recover_all(folder.path(), false).unwrap_err();
    assert!(error.to_string().contains("should follow"), "{error}");
    let kept = 12 - (segments[2].first_sequence - segments[1].first_sequence);
    let (sequences, recovered) = recover_all(folder.path(), true).unwrap();
    assert_eq!(sequences.len() as u64, kept);
    assert!(recovered.was_repaired);
}

#[tokio::test]
async fn segments_go_once_they_are_passed() {
    let folder = tempfile::tempdir().unwrap();
    let (wal, _seen) = start(WalOptions { segment_bytes_max: 300, ..options(folder.path()) }, 1);
    for number in 1..=12 {
        wal.append(record(noise(number, 60)), Vec::new()).await.unwrap();
    }
    let segments = segment::list(folder.path()).unwrap();
    let second = segments[1].first_sequence;
    wal.passed(second - 2).await.unwrap();
    assert_eq!(segment::list(folder.path()).unwrap(), segments, "the first is passed in part");
    wal.passed(second - 1).await.unwrap();
    assert_eq!(segment::list(folder.path()).unwrap(), segments[1..]);
    wal.passed(12).await.unwrap();
    assert_eq!(segment::list(folder.path()).unwrap().len(), 1, "the one in use stays");
    let left = fs::metadata(only_segment(folder.path())).unwrap().len();
    assert_eq!(wal.bytes(), left);
    wal.clear(12).await.unwrap();
    assert_eq!(segment::list(folder.path()).unwrap(), []);
    assert_eq!(wal.bytes(), 0);
    assert_eq!(wal.append(record("more"), Vec::new()).await.unwrap(), 13);
}

/// A disk that counts syncs and keeps the first one waiting until `open` is sent to.
fn gated_disk() -> (Disk, Sender<()>, Arc<AtomicU64>) {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(Some(gate));
    let syncs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&syncs);
    let sync = move |file: &File| {
        counted.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = gate.lock().unwrap().take() {
            gate.recv().unwrap();
        }
        file.sync_data()
    };
    (Disk { sync: Arc::new(sync), ..Disk::default() }, open, syncs)
}

#[tokio::test]
async fn waiting_appends_share_one_sync_and_arrive_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, open, syncs) = gated_disk();
    let (wal, seen) = start(WalOptions { disk, ..options(folder.path()) }, 1);
    let wal = Arc::new(wal);
    let mut appends = tokio::task::JoinSet::new();
    for number in 1..=100_u64 {
        let wal = Arc::clone(&wal);
        appends.spawn(async move { wal.append(record(noise(number, 100)), Vec::new()).await });
    }
    // The first group waits at the gate until all have queued behind it.
    while wal.room.available_permits()
        > QUEUE_BYTES_MAX as usize - 100 * (100 + RECORD_OVERHEAD_BYTES)
    {
        tokio::task::yield_now().await;
    }
    assert!(seen.lock().unwrap().is_empty(), "nothing is visible before its sync");
    open.send(()).unwrap();
    let mut sequences = Vec::new();
    while let Some(sequence) = appends.join_next().await {
        sequences.push(sequence.unwrap().unwrap());
    }
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=100).collect::<Vec<_>>());
    assert_eq!(*seen.lock().unwrap(), sequences);
    assert!(syncs.load(Ordering::SeqCst) <= 3, "{} syncs", syncs.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_failed_sync_refuses_all_that_follows() {
    let folder = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&broken);
    let sync = move |file: &File| {
        if breaks.load(Ordering::SeqCst) { Err(io::Error::other("EIO")) } else { file.sync_data() }
    };
    let disk = Disk { sync: Arc::new(sync), ..Disk::default() };
    let (wal, seen) = start(WalOptions { disk, ..options(folder.path()) }, 1);
    wal.append(record("one"), Vec::new()).await.unwrap();
    broken.store(true, Ordering::SeqCst);
    let error = wal.append(record("two"), Vec::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::LogPoisoned { .. }) && error.is_retryable(), "{error}");
    broken.store(false, Ordering::SeqCst);
    let error = wal.append(record("three"), Vec::new()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::LogPoisoned { .. }),
        "a later sync proves nothing: {error}"
    );
    assert_eq!(*seen.lock().unwrap(), [1]);
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let is_full = Arc::clone(&full);
    let write = move |mut file: &File, parts: &mut [IoSlice<'_>]| {
        if is_full.load(Ordering::SeqCst) {
            file.write_all(&parts[0][..parts[0].len() / 2])?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        group::write_all(&mut file, parts)
    };
    let disk = Disk { write: Arc::new(write), ..Disk::default() };
    let (wal, seen) = start(WalOptions { disk, ..options(folder.path()) }, 1);
    let append = |number: u64| wal.append(record(payload_of(number)), Vec::new());
    append(1).await.unwrap();
    full.store(true, Ordering::SeqCst);
    let error = append(9).await.unwrap_err();
    assert!(matches!(error, StoreError::LogWrite { .. }) && error.is_retryable(), "{error}");
    full.store(false, Ordering::SeqCst);
    assert_eq!(append(2).await.unwrap(), 2);
    assert_eq!(*seen.lock().unwrap(), [1, 2]);
    wal.close().await.unwrap();
    assert_eq!(recover_all(folder.path(), false).unwrap().0, [1, 2]);
}

#[tokio::test]
async fn an_interval_syncs_without_further_appends() {
    let folder = tempfile::tempdir().unwrap();
    let (synced, wait) = mpsc::channel();
    let synced = Mutex::new(synced);
    let sync = move |file: &File| {
        synced.lock().unwrap().send(()).unwrap_or_default();
        file.sync_data()
    };
    let disk = Disk { sync: Arc::new(sync), ..Disk::default() };
    let durability = Durability::Interval(Duration::from_millis(5));
    let (wal, seen) = start(WalOptions { durability, disk, ..options(folder.path()) }, 1);
    wal.append(record("one"), Vec::new()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [1]);
    wait.recv_timeout(Duration::from_secs(30)).expect("a sync within the interval");
}

#[tokio::test]
async fn a_closed_log_refuses_and_an_oversized_record_says_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (wal, _seen) = start(options(folder.path()), 1);
    let error = wal.append(record(vec![0; PAYLOAD_BYTES_MAX + 1]), Vec::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::RecordTooLarge { .. }) && !error.is_retryable());
    wal.close().await.unwrap();
    let error = wal.append(record("late"), Vec::new()).await.unwrap_err();
    assert!(matches!(error, StoreError::Closed), "{error}");
}

#[tokio::test]
async fn a_dropped_log_has_written_what_was_queued() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, open, _syncs) = gated_disk();
    let (wal, _seen) = start(WalOptions { disk, ..options(folder.path()) }, 1);
    let wal = Arc::new(wal);
    let mut appends = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let wal = Arc::clone(&wal);
        appends.spawn(async move { wal.append(record("queued"), Vec::new()).await });
    }
    while wal.room.available_permits() > QUEUE_BYTES_MAX as usize - 3 * RECORD_OVERHEAD_BYTES {
        tokio::task::yield_now().await;
    }
    // The senders go away; their records are in the queue.
    appends.shutdown().await;
    open.send(()).unwrap();
    drop(wal);
    let mut records = 0;
    recover(folder.path(), false, |_| {
        records += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(records, 3);
}
