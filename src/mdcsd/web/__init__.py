"""`mdcsd serve`: an upload page and a REST API on one machine.

Read in this order: `settings` (limits), `jobs` (the queue), `uploads` (a request's body -> a file),
`judging` (a file -> a report), `worker` (the processes that do it), `security` (who may ask),
`pages` (HTML), `app` (routes), `server` (start and stop).
"""
