"""What runs on AWS: the Lambda function that proposes, how it is packed, and a stand-in of Lambda for tests."""
