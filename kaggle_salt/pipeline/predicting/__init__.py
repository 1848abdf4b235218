"""Networks leave their run: masks of other images, exports, one to carry."""
