//! What is peculiar to MySQL and MariaDB, on real servers.

mod database;

mod proxy;

mod tables;

mod zones;

mod wire;
