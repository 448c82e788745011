-- Run once by the image of PostgreSQL, on an empty volume: a database of its own, whose owner is nothing more than that.
\getenv password DATABASE_PASSWORD
create role connectors login password :'password';
create database connectors owner connectors;
