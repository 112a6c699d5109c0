"""What Vermilion's services share, and nothing else.

``topics`` states the flow, ``records`` and ``codec`` what travels, ``stage`` what a service is,
``runtime`` the loop that drives one, ``ports`` what both brokers (``kafka``, ``memory``) offer.
Importing a module here imports no Kafka client; only ``vermilion_pipeline.kafka`` does.
"""
