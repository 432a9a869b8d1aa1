//! The real server, killed and stopped while it keeps the directory of users.
