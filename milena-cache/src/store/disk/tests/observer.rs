//! What a store tells of itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::Observer;
use super::fixture::{Fixture, entry};
use crate::store::Store;

#[derive(Default)]
struct Notes {
    pauses: Mutex<usize>,
    unread: Mutex<Vec<u64>>,
}

impl Observer for Notes {
    fn paused(&self, _took: Duration) {
        *self.pauses.lock().unwrap() += 1;
    }

    fn unread(&self, segments: u64) {
        self.unread.lock().unwrap().push(segments);
    }
}

fn observed() -> (Fixture, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let fixture = Fixture {
        observer: Arc::clone(&notes) as Arc<dyn Observer>,
        ..Fixture::new()
    };
    (fixture, notes)
}

#[tokio::test]
async fn reading_the_log_is_told_segment_by_segment() {
    let (fixture, notes) = observed();
    let store = fixture.open().await;
    let last = notes.unread.lock().unwrap().last().copied();
    assert_eq!(last, Some(0), "there is nothing to read");
    store.fill_segments(4).await;
    store.close().await.unwrap();
    drop(store);
    notes.unread.lock().unwrap().clear();
    fixture.open().await;
    assert_eq!(*notes.unread.lock().unwrap(), [4, 3, 2, 1, 0]);
}

#[tokio::test]
async fn pauses_are_told_while_something_is_reclaimed() {
    let (fixture, notes) = observed();
    let store = fixture.open().await;
    for number in 0..3 {
        let value = fixture.dying_in(10, &"x".repeat(1_500));
        store.store(&format!("k {number}"), value).await;
    }
    let before = *notes.pauses.lock().unwrap();
    store.store("one more", entry("x")).await;
    assert_eq!(
        *notes.pauses.lock().unwrap(),
        before,
        "nothing is reclaimed"
    );
    fixture.pass_seconds(10);
    store.maintain().await;
    assert!(*notes.pauses.lock().unwrap() > before);
}
