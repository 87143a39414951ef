DROP INDEX job_top;
