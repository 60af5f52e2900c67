"""`python -m byline_client`: the command `byline`."""

from byline_client.cli.entry import main

main()
