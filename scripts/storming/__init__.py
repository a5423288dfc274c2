"""A storm: a provider is down, all jobs wait for it, and it comes back: how many ask it at once?"""
