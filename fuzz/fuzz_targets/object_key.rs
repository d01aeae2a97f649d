//! Names of S3 objects: from a key to a name and back, and from a name of somebody else's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use milena_cache::store::s3::object_key::{OBJECT_KEY_BYTES_MAX, entry_key, object_key};
use milena_cluster::key::EntryKey;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = EntryKey::new("bucket", bytes) {
        let object = object_key("pre/", &key);
        assert!(object.name.len() <= OBJECT_KEY_BYTES_MAX);
        assert!(
            object
                .name
                .split('/')
                .all(|part| !matches!(part, "" | "." | ".."))
        );
        let back = entry_key("pre/", &object.name);
        assert_eq!(back, (!object.is_hashed).then_some(key));
    }
    if let Ok(name) = std::str::from_utf8(bytes)
        && let Some(key) = entry_key("", name)
    {
        let object = object_key("", &key);
        assert_eq!((object.name.as_str(), object.is_hashed), (name, false));
    }
});
