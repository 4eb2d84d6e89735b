"""The service: a run answers over HTTP, what people do is kept, and what it cannot do it says."""
