//! Java object streams, read and written without Java.
