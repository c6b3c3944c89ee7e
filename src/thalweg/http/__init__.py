"""Files and answers over HTTP that may be left alone for a night: asked again, resumed, verified, or told plainly.

Nothing here knows a provider. `session.Session` is the door: `.json` for answers, `.download` for files. A file counts
only once its size and checksum are those promised (`expected`); what comes in lies in a `.part` beside its place until
then. `connections` bounds transfers per account across processes, `auth` lends one login to all of them.
"""
