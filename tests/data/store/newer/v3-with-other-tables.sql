DROP TABLE job; CREATE TABLE task (uuid TEXT PRIMARY KEY); PRAGMA user_version = 3;
