//! The directory of users over HTTP.
