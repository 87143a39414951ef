ALTER TABLE attempt DROP COLUMN message;
