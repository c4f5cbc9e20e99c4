-- Request ids are forgotten by age.
CREATE INDEX requests_by_time ON requests (create_time_ms);
