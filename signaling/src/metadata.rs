//! Metadata of a participant: anything that the others should know.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// A JSON object, kept as its text and once for all who are told it. As a tree it would take up to a hundred times the
/// memory: a map of one entry has six hundred bytes.
#[derive(Clone, Default)]
pub struct Metadata(
    /// None: an object without entries.
    Option<Arc<RawValue>>,
);

impl Metadata {
    /// The object's text: without spaces between its tokens, each key once, the keys in their order.
    pub fn as_json(&self) -> &str {
        self.0.as_ref().map_or("{}", |text| text.get())
    }

    /// The object as a tree.
    pub fn to_map(&self) -> Map<String, Value> {
        serde_json::from_str(self.as_json()).unwrap_or_default()
    }

    /// The memory that the text takes, in bytes.
    pub(crate) fn weight(&self) -> usize {
        /// The counts of those who have it, and what the allocator adds.
        const BESIDE: usize = 32;
        self.0.as_ref().map_or(0, |text| text.get().len() + BESIDE)
    }
}

impl From<Map<String, Value>> for Metadata {
    fn from(map: Map<String, Value>) -> Self {
        if map.is_empty() {
            return Self(None);
        }
        // Only maps with keys that are no strings fail.
        Self(to_raw_value(&map).ok().map(Arc::from))
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Eq for Metadata {}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(text) => text.serialize(serializer),
            None => Map::new().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Read as a tree, so that it is an object and not too deep.
        Map::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Metadata {
        serde_json::from_str(text).expect(text)
    }

    #[test]
    fn it_is_written_as_its_tree_is() {
        for text in [
            "{}",
            r#"{ "b" : [1, 2.50, null], "a" : {"":0}, "b": "\u00e9\"" }"#,
            r#"{"n":166666666666666666666666666666666666666666}"#,
        ] {
            let tree: Map<String, Value> = serde_json::from_str(text).expect(text);
            let written = serde_json::to_string(&tree).expect("a text");
            let metadata = read(text);
            assert_eq!(metadata.as_json(), written);
            assert_eq!(serde_json::to_string(&metadata).ok(), Some(written));
            assert_eq!(metadata.to_map(), tree);
            assert_eq!(json!(metadata), Value::from(tree));
        }
        assert_eq!(read("{}"), Metadata::default());
        assert_eq!(read("{}").weight(), 0);
    }

    #[test]
    fn nothing_but_an_object_is_read() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
        for text in ["[]", "null", "\"\"", "1", "{", &deep] {
            assert!(serde_json::from_str::<Metadata>(text).is_err(), "{text:.9}");
        }
    }
}
