//! What only a folder can do: survive its server, and be tampered with.

use super::*;

async fn open(folder: &tempfile::TempDir) -> Result<FolderStore> {
    FolderStore::open(folder.path().to_owned()).await
}

fn bucket() -> BucketName {
    BucketName::parse("bucket").unwrap()
}

async fn put(store: &FolderStore, key: &str, content: &'static str) -> Result<()> {
    put_if(store, key, content, Condition::Always).await
}

async fn put_if(
    store: &FolderStore,
    key: &str,
    content: &'static str,
    condition: Condition,
) -> Result<()> {
    let content = Bytes::from_static(content.as_bytes());
    store
        .put(&bucket(), key, Meta::default(), content, condition)
        .await
}

async fn get(store: &FolderStore, key: &str) -> Result<Bytes> {
    let content = store.find(&bucket(), key).await?.content;
    let size = content.size();
    content.read(0..size).await
}

async fn keys(store: &FolderStore) -> Vec<String> {
    let query = Query {
        entries_max: 100,
        ..Query::default()
    };
    let page = store.list(&bucket(), &query).await.unwrap();
    page.objects.into_iter().map(|(key, _)| key).collect()
}

/// A folder whose one bucket has the keys `a` and `b`, closed.
async fn folder_of_two() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder).await.unwrap();
    store.create_bucket(&bucket(), UnixMillis(1)).await.unwrap();
    put(&store, "a", "value of a").await.unwrap();
    put(&store, "b", "value of b").await.unwrap();
    store.close().await;
    folder
}

fn path_in(folder: &tempfile::TempDir, path: &str) -> PathBuf {
    folder.path().join("buckets/bucket").join(path)
}

/// SHA-256 of "a".
const FILE_OF_A: &str = "objects/ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

#[tokio::test]
async fn a_reopened_folder_has_what_was_put() {
    let folder = folder_of_two().await;
    let store = open(&folder).await.unwrap();
    assert_eq!(keys(&store).await, ["a", "b"]);
    assert_eq!(get(&store, "a").await.unwrap(), "value of a");
    store
        .delete(&bucket(), "a", Condition::Always)
        .await
        .unwrap();
    store.close().await;
    let store = open(&folder).await.unwrap();
    assert_eq!(keys(&store).await, ["b"]);
}

#[tokio::test]
async fn a_folder_has_one_server_at_a_time() {
    let folder = folder_of_two().await;
    let first = open(&folder).await.unwrap();
    match open(&folder).await {
        Err(StoreError::Io(error)) => assert_eq!(error.kind(), io::ErrorKind::ResourceBusy),
        _ => panic!("a second server opened the folder"),
    }
    first.close().await;
    open(&folder).await.expect("the first one closed");
}

#[tokio::test]
async fn what_was_never_finished_is_removed_at_the_start() {
    let folder = folder_of_two().await;
    let unfinished = path_in(&folder, "incoming/0");
    fs::write(&unfinished, "half an obj").unwrap();
    let store = open(&folder).await.unwrap();
    assert!(!unfinished.exists());
    assert_eq!(keys(&store).await, ["a", "b"]);
    put(&store, "c", "value of c").await.unwrap();
}

#[tokio::test]
async fn stray_files_are_left_alone() {
    let folder = folder_of_two().await;
    fs::write(path_in(&folder, "objects/README"), "not an object").unwrap();
    fs::create_dir(path_in(&folder, "objects/directory")).unwrap();
    fs::create_dir(path_in(&folder, "incoming/directory")).unwrap();
    fs::copy(
        path_in(&folder, FILE_OF_A),
        path_in(&folder, "objects/copy"),
    )
    .unwrap();
    fs::write(folder.path().join("buckets/stray-file"), "").unwrap();
    fs::create_dir(folder.path().join("buckets/Not A Bucket")).unwrap();
    let store = open(&folder).await.unwrap();
    assert_eq!(keys(&store).await, ["a", "b"]);
    assert_eq!(store.buckets().await.unwrap().len(), 1);
    assert!(path_in(&folder, "objects/README").exists());
}

#[tokio::test]
async fn a_damaged_object_is_an_error_until_it_is_put_again() {
    let folder = folder_of_two().await;
    let path = path_in(&folder, FILE_OF_A);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let store = open(&folder).await.unwrap();
    assert_eq!(keys(&store).await, ["b"], "left out of listings");
    assert!(matches!(
        get(&store, "a").await,
        Err(StoreError::Damaged(_))
    ));
    put(&store, "a", "again").await.unwrap();
    assert_eq!(get(&store, "a").await.unwrap(), "again");
    assert_eq!(keys(&store).await, ["a", "b"]);
}

#[tokio::test]
async fn an_object_removed_by_hand_is_not_there() {
    let folder = folder_of_two().await;
    let store = open(&folder).await.unwrap();
    fs::remove_file(path_in(&folder, FILE_OF_A)).unwrap();
    assert!(matches!(get(&store, "a").await, Err(StoreError::NoSuchKey)));
}

#[tokio::test]
async fn a_refused_write_leaves_nothing_behind() {
    let folder = folder_of_two().await;
    let store = open(&folder).await.unwrap();
    let refused = put_if(&store, "a", "refused", Condition::Absent).await;
    assert!(matches!(refused, Err(StoreError::ConditionFailed)));
    let mut incoming = fs::read_dir(path_in(&folder, "incoming")).unwrap();
    assert!(incoming.next().is_none());
    assert_eq!(get(&store, "a").await.unwrap(), "value of a");
}
