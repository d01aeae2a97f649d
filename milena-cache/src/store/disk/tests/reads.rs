//! Where a value is read from: what the system has in memory is not waited for, and nothing is missed that
//! it has not.

use super::fixture::{Fixture, entry, key};
use super::memory_files::Faults;
use crate::store::Store as _;

#[tokio::test]
async fn what_is_in_memory_is_served_without_the_medium() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("k", entry("v")).await;
    fixture.files.set_faults(Faults {
        reads: true,
        ..Faults::default()
    });
    assert_eq!(store.value("k").await.as_deref(), Some("v"));
    assert_eq!(store.get_now(&key("k")), Some(entry("v")));
    assert_eq!(store.value("absent").await, None);
}

#[tokio::test]
async fn what_is_not_in_memory_is_read_from_the_medium() {
    let fixture = Fixture::new();
    let store = fixture.open().await;
    store.store("k", entry("v")).await;
    fixture.files.set_faults(Faults {
        uncached: true,
        ..Faults::default()
    });
    assert_eq!(store.get_now(&key("k")), None);
    assert_eq!(store.value("k").await.as_deref(), Some("v"));
    assert_eq!(store.value("absent").await, None);
}
