"""How servers agree, on Redis: steps and checks that one server runs for all, and who is there.

`store` asks Redis, `scripts` are what it is asked; `steps` runs a step under a `lease`; `member`
tells of this server and learns of the others, in the background, one worker for each server.
"""
